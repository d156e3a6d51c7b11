/** Bodies as pages and services send them: ids, amounts, times, addresses, nested objects and lists,
 *  text beyond ASCII. The same in each run (xorshift32). */
export function orders(records: number): string {
  let state = 0x9e3779b9;
  const below = (end: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % end;
  };
  const of = <T>(list: readonly T[]) => list[below(list.length)]!;
  const hex = () => below(2 ** 32).toString(16).padStart(8, "0");
  const tasks = Array.from({ length: records }, () => {
    switch (below(3)) {
      case 0:
        return {
          orderId: `ord_${hex()}${hex()}`,
          status: of(["open", "paid", "shipped", "cancelled"]),
          total: below(500_000) / 100,
          currency: "EUR",
          items: [
            { sku: `SKU-${below(99_999)}`, qty: below(12), price: below(300) + 0.5 },
            { sku: `SKU-${below(999)}`, qty: below(3), price: below(80) },
          ],
          giftNote: null,
        };
      case 1:
        return {
          taskId: `vt_${hex()}`,
          file: `${of(["final", "teaser-07", "interview with the team", "übersicht"])}.mp4`,
          createdAt: 1_769_660_861_000 + below(9_999_999),
          progress: (below(98) + 1) / 100,
          settings: { width: 1920, height: 1080, codec: "h264", audio: below(2) === 1 },
          title: of(["Launch", 'A "quoted" title', "Zürich, Bahnhofstraße", "Line\nbreak"]),
        };
      default:
        return {
          user: {
            name: of(["Ada Lovelace", "Grace Hopper", "José García", "王小明"]),
            email: `user${below(100_000)}@example.com`,
            address: {
              street: `${below(999) + 1} Main Street`,
              zip: String(below(99_999)).padStart(5, "0"),
              city: of(["Berlin", "Lyon", "San Francisco", "Oslo"]),
              geo: [below(90) + (below(99_999) * 10 + 1) / 1e6, -below(180) - (below(99_999) * 10 + 7) / 1e6],
            },
          },
          active: true,
          score: below(1_000_000),
        };
    }
  });
  return JSON.stringify({ requestId: "req_2fc6dfe5", source: "web", tasks, dryRun: false });
}
