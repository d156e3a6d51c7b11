/** Somebody who uses this browser. Two share it, and neither sees what the other started. */
export interface Account {
  /** Whom the client keeps keys for. */
  readonly user: string;
  readonly name: string;
  /** Whose videos these are, for the service. */
  readonly tenant: string;
  readonly company: string;
}

export const ACCOUNTS: readonly Account[] = [
  { user: "ada", name: "Ada Acheson", tenant: "acme-studios", company: "Acme Studios" },
  { user: "ben", name: "Ben Birk", tenant: "birch-films", company: "Birch Films" },
];
