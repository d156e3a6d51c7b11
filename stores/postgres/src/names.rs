//! [`Names`]: where the table is, and the SQL text for it.

/// The schema and the table, both checked.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    schema: String,
    table: String,
}

impl Names {
    /// The longest table: PostgreSQL cuts names after 63 bytes, and the functions' are longer.
    const MAX_TABLE_BYTES: usize = 48;

    pub(crate) fn new(schema: String, table: String) -> Result<Self, String> {
        check("schema", &schema, 63)?;
        check("table", &table, Self::MAX_TABLE_BYTES)?;
        Ok(Self { schema, table })
    }

    /// The SQL text with these names in it.
    pub(crate) fn put_into(&self, sql: &str) -> String {
        // The table first: a schema may have the default table's name.
        sql.replace("idempotency_keys", &self.table)
            .replace("\"public\"", &format!("\"{}\"", self.schema))
    }

    /// `"schema"."table"`.
    pub(crate) fn table(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.table)
    }
}

fn check(what: &str, name: &str, limit: usize) -> Result<(), String> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if begins && goes_on && name.len() <= limit {
        Ok(())
    } else {
        Err(format!(
            "the name of the {what} has to match [a-z_][a-z0-9_]* and have at most {limit} bytes"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_end_their_quotes_are_refused() {
        let long = "a".repeat(49);
        for table in ["", "Keys", "1keys", "ke-ys", "k\"; drop", "k.k", "ключ", &long] {
            assert!(Names::new("public".into(), table.into()).is_err(), "{table}");
        }
        assert!(Names::new("pu blic".into(), "keys".into()).is_err());
        assert!(Names::new("_a1".into(), "a".repeat(48)).is_ok());
    }

    #[test]
    fn a_schema_and_a_table_may_have_each_others_names() {
        let names = Names::new("idempotency_keys".into(), "public".into()).unwrap();
        let text = names.put_into("\"public\".\"idempotency_keys_swap\"");
        assert_eq!(text, "\"idempotency_keys\".\"public_swap\"");
        assert_eq!(names.table(), "\"idempotency_keys\".\"public\"");
    }
}
