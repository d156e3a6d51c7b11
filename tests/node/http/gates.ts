/** Doors that are shut until the case opens them, and numbers to wait for. */
const PATIENCE = 20_000;

/** They stay open. */
export class Gates {
  private readonly gates = new Map<string, { readonly opened: Promise<void>; open(): void }>();

  open(name: string): void {
    this.of(name).open();
  }

  opened(name: string): Promise<void> {
    return this.of(name).opened;
  }

  private of(name: string) {
    let gate = this.gates.get(name);
    if (!gate) {
      let open = () => {};
      const opened = new Promise<void>((resolve) => (open = resolve));
      this.gates.set(name, (gate = { opened, open }));
    }
    return gate;
  }
}

/** A number that only grows. */
export class Count {
  is = 0;
  private waiting: { readonly least: number; wake(): void }[] = [];

  add(): number {
    this.is += 1;
    this.waiting = this.waiting.filter(({ least, wake }) => {
      if (this.is < least) return true;
      wake();
      return false;
    });
    return this.is;
  }

  reached(least: number, what: string): Promise<void> {
    if (this.is >= least) return Promise.resolve();
    const reached = new Promise<void>((wake) => this.waiting.push({ least, wake }));
    return inTime(reached, () => `${what} was ${this.is} and not ${least} in time`);
  }
}

/** Rejects where it takes longer than anything here takes. */
export async function inTime<T>(promise: Promise<T>, why: () => string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(why())), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
