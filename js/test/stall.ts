/** A handler that keeps the thread to itself for so many milliseconds. */
export function stall(span: number): void {
  const end = performance.now() + span;
  while (performance.now() < end);
}
