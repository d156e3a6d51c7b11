/** Contenders in turn, so that a slow moment of the machine is everybody's; medians. */
export function race(contenders: Record<string, () => unknown>, rounds = 21, budget = 20): Record<string, number> {
  const times: Record<string, number[]> = {};
  const counts: Record<string, number> = {};
  for (const [name, run] of Object.entries(contenders)) {
    for (let warm = 0; warm < 3000; warm++) run();
    const start = performance.now();
    let count = 0;
    while (performance.now() - start < budget) {
      run();
      count++;
    }
    counts[name] = count;
    times[name] = [];
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      const start = performance.now();
      for (let left = counts[name]!; left > 0; left--) run();
      times[name]!.push((performance.now() - start) / counts[name]!);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)]));
}

export function median(values: number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;
}

/** Lines in columns, the reference first, and each against it. */
export function table(medians: Record<string, number>, unit: (time: number) => string): string {
  const [[, reference]] = Object.entries(medians) as [[string, number]];
  const rows = Object.entries(medians).map(([name, time]) => {
    const ratio = (reference / time).toFixed(2);
    return `${name.padEnd(52)}${unit(time).padStart(12)}${`${ratio} times`.padStart(14)}`;
  });
  return rows.join("\n");
}

/** What one contender took in one heat, in milliseconds, by what was measured. */
export type Heat = () => Promise<Record<string, number>>;

/** Heats of asynchronous contenders in turn, each timing itself; medians by contender and by what was
 *  measured. The first heats are not counted. */
export async function heats(contenders: Record<string, Heat>, rounds = 15, warm = 3): Promise<Record<string, Record<string, number>>> {
  const times: Record<string, Record<string, number[]>> = {};
  for (let round = -warm; round < rounds; round++) {
    for (const [name, heat] of Object.entries(contenders)) {
      const measured = await heat();
      if (round < 0) continue;
      for (const [what, time] of Object.entries(measured)) ((times[name] ??= {})[what] ??= []).push(time);
    }
  }
  const medians = (all: Record<string, number[]>) =>
    Object.fromEntries(Object.entries(all).map(([what, values]) => [what, median(values)]));
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, medians(all)]));
}

/** Heats in columns, the reference first, and each against it: how many times its time is the other's. */
export function heatTable(medians: Record<string, Record<string, number>>, unit: (time: number, what: string) => string): string {
  const [[, reference]] = Object.entries(medians) as [[string, Record<string, number>]];
  const columns = Object.keys(reference);
  const row = (name: string, cells: string[]) => name.padEnd(44) + cells.map((cell) => cell.padStart(24)).join("");
  const cell = (time: number, what: string) => `${unit(time, what)} ${(reference[what]! / time).toFixed(2)} times`;
  const rows = Object.entries(medians).map(([name, times]) => row(name, columns.map((what) => cell(times[what]!, what))));
  return [row("", columns), ...rows].join("\n");
}
