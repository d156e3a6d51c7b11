/** When to stop: Ctrl-C, what a supervisor sends, and, where wanted, the end of the standard input. */
export function whenStopped(atEof: boolean): Promise<void> {
  return new Promise((stop) => {
    process.once("SIGINT", () => stop());
    process.once("SIGTERM", () => stop());
    // So that nobody who starts it leaves it behind. What comes is of no interest.
    if (atEof) process.stdin.on("error", () => stop()).on("end", () => stop()).resume();
  });
}
