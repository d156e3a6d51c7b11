/** Packages of the same kind, each used as its documentation shows, on a store in memory. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import {
  IdempotencyItemAlreadyExistsError,
  IdempotencyItemNotFoundError,
} from "@aws-lambda-powertools/idempotency";
import {
  BasePersistenceLayer,
  type IdempotencyRecord,
} from "@aws-lambda-powertools/idempotency/persistence";
import { Idempotency } from "@node-idempotency/core";
import { MemoryStorageAdapter } from "@node-idempotency/storage-adapter-memory";
import type { Contender, Order, Request } from "./request.js";

/** The name of a package with the version that is installed. */
export function versioned(name: string): string {
  // Not every package exports its manifest.
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const manifest = folders.map((folder) => join(folder, name, "package.json")).find(existsSync)!;
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return `${name} ${version}`;
}

/** `@node-idempotency/core`, by its README: `onRequest`, then `onResponse`. */
export function nodeIdempotency(): Contender {
  const idempotency = new Idempotency(new MemoryStorageAdapter());
  const asked = ({ key, parsed }: Request) => ({
    method: "POST",
    headers: { "idempotency-key": key },
    body: parsed as unknown as Record<string, unknown>,
    path: "/orders",
  });
  return {
    async handle(request, execute) {
      const stored = await idempotency.onRequest(asked(request));
      if (stored) return stored.body;
      const body = execute();
      await idempotency.onResponse(asked(request), { body, additional: { status: 201 } });
      return body;
    },
  };
}

/**
 * `@aws-lambda-powertools/idempotency`, by its documentation: `makeIdempotent` around the handler. By
 * default the hash of the whole payload is the key; with `validated` a part of it is, and the rest is
 * validated, which is what every other contender does.
 */
export function powertools({ validated = false, useLocalCache = false } = {}): Contender {
  const config = new IdempotencyConfig({
    useLocalCache,
    ...(validated && { eventKeyJmesPath: "key", payloadValidationJmesPath: "parsed" }),
  });
  const lambda = { getRemainingTimeInMillis: () => 30_000 };
  let execute: () => Order;
  const handler = makeIdempotent(
    async (_event: unknown, _context: unknown): Promise<Order> => execute(),
    { persistenceStore: new MapPersistenceLayer(), config },
  ) as (event: unknown, context: unknown) => Promise<Order>;
  return {
    handle({ key, parsed }, work) {
      execute = work;
      return handler({ key, parsed }, lambda);
    },
  };
}

/** Records in a map, with the conditional write that its layers for databases have. */
class MapPersistenceLayer extends BasePersistenceLayer {
  private readonly records = new Map<string, IdempotencyRecord>();

  protected override async _putRecord(record: IdempotencyRecord): Promise<void> {
    const existing = this.records.get(record.idempotencyKey);
    if (existing && !existing.isExpired()) {
      throw new IdempotencyItemAlreadyExistsError("the record exists", existing);
    }
    this.records.set(record.idempotencyKey, record);
  }

  protected override async _getRecord(key: string): Promise<IdempotencyRecord> {
    const record = this.records.get(key);
    if (!record) throw new IdempotencyItemNotFoundError("there is no record");
    return record;
  }

  protected override async _updateRecord(record: IdempotencyRecord): Promise<void> {
    this.records.set(record.idempotencyKey, record);
  }

  protected override async _deleteRecord(record: IdempotencyRecord): Promise<void> {
    this.records.delete(record.idempotencyKey);
  }
}
