//! The SQL text, as it is in the folder `sql`: for a team that runs migrations by hand, and for
//! clients in other languages.
//!
//! The files name the schema `"public"` and the table `idempotency_keys`. For others, replace both
//! throughout, as [`PostgresOptions::schema`](crate::PostgresOptions::schema) and
//! [`PostgresOptions::table`](crate::PostgresOptions::table) do.
//!
//! ```
//! let text = idemp_postgres::sql::MIGRATIONS[0].text;
//! let ours = text.replace("\"public\"", "\"payments\"").replace("idempotency_keys", "payment_keys");
//! assert!(ours.contains("CREATE TABLE \"payments\".\"payment_keys\""));
//! ```

/// One numbered file of the schema. It is run once, in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The version of the schema that it makes, counted from 1.
    pub version: u32,
    /// The file's name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// All of them, in order.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "0001_table.sql",
    text: include_str!("../sql/0001_table.sql"),
}];

/// One question to the store: parameters and the answer are told in `0001_table.sql`.
pub const SWAP: &str = include_str!("../sql/swap.sql");

/// One question that expects nothing and puts something. [`SWAP`] gives the same answer, later.
pub const CLAIM: &str = include_str!("../sql/claim.sql");

/// One question inside the caller's transaction.
pub const SWAP_WITHIN: &str = include_str!("../sql/swap_within.sql");

/// The first half of an outcome inside the caller's transaction: locks, and reads. The second is
/// [`PUT_WITHIN`], or [`SWAP_WITHIN`] where something lay there.
pub const LOCK_WITHIN: &str = include_str!("../sql/lock_within.sql");

/// The second half where nothing lay before.
pub const PUT_WITHIN: &str = include_str!("../sql/put_within.sql");

/// Deletes what is gone.
pub const PURGE: &str = include_str!("../sql/purge.sql");
