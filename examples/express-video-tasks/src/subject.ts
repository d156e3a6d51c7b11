/** {@link subjectOf}: what a request for an analysis is about, which is its key. */
import { createHash } from "node:crypto";
import { fingerprintOf, slotKey, IdempError, type Fingerprint, type Scope } from "idemp";
import { Problem } from "./problem.js";

/** A natural key: two requests with the same one are about the same thing. */
export interface Subject {
  readonly scope: Scope;
  readonly key: string;
  readonly fingerprint: Fingerprint;
}

/**
 * The tenant's videos are its own: it stands in the scope. A file name may be long or odd, so the key
 * is always its digest; were some taken as they are, a file named like another's digest would share
 * its key.
 *
 * @throws Problem where the tenant cannot stand in a scope.
 */
export function subjectOf(tenant: string, filename: string): Subject {
  const subject = {
    scope: [tenant, "track"],
    key: digest([tenant, filename]),
    fingerprint: fingerprintOf([tenant, filename]),
  };
  try {
    slotKey(subject.scope, subject.key);
    return subject;
  } catch (error) {
    if (error instanceof IdempError) throw Problem.invalid(`This cannot be a key: ${error.message}.`);
    throw error;
  }
}

/** As `Key::digest` in Rust: a service in either language knows what the other one holds. */
function digest(parts: readonly string[]): string {
  const hash = createHash("sha256").update("idemp key 1\0");
  for (const part of parts) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(Buffer.byteLength(part)));
    hash.update(length).update(part);
  }
  return hash.digest("hex");
}
