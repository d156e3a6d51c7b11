/** {@link Messages}: cuts a stream of HTTP/1.1 into its messages, whose bytes stay as they are. */

/** One direction of a connection. Each message says how long its body is (RFC 9112, section 6). */
export class Messages {
  private waiting: Buffer = Buffer.alloc(0);

  /** The messages that are whole now, each with where its body begins. */
  take(chunk: Buffer): { bytes: Buffer; bodyAt: number }[] {
    this.waiting = Buffer.concat([this.waiting, chunk]);
    const whole = [];
    for (;;) {
      const bodyAt = this.waiting.indexOf(HEAD_ENDS) + HEAD_ENDS.length;
      if (bodyAt < HEAD_ENDS.length) return whole;
      const end = this.end(bodyAt);
      if (end === undefined || end > this.waiting.length) return whole;
      whole.push({ bytes: this.waiting.subarray(0, end), bodyAt });
      this.waiting = this.waiting.subarray(end);
    }
  }

  private end(bodyAt: number): number | undefined {
    const head = this.waiting.toString("latin1", 0, bodyAt);
    if (/^transfer-encoding: *chunked/im.test(head)) {
      const last = this.waiting.indexOf(LAST_CHUNK, bodyAt - HEAD_ENDS.length / 2);
      return last < 0 ? undefined : last + LAST_CHUNK.length;
    }
    const [, length = "0"] = /^content-length: *(\d+)/im.exec(head) ?? [];
    return bodyAt + Number(length);
  }
}

const HEAD_ENDS = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("\r\n0\r\n\r\n");
