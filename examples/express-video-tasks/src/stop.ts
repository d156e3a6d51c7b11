/** Ready when somebody wants this process to end: by Ctrl-C, as a supervisor does it, or, where wanted, by
 *  the end of its standard input. */
export function stopped(atEof: boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      if (atEof) process.stdin.destroy(); // it would keep the process
      resolve();
    };
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    // So that nobody who starts it leaves it behind. What comes is of no interest.
    if (atEof) process.stdin.on("error", stop).on("end", stop).resume();
  });
}
