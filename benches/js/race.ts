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
