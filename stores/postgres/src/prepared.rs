//! [`Prepared`]: the store's statements on each of its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use deadpool_postgres::StatementCache;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};

/// The statement of one text, as each connection knows it. A pool keeps statements as well, by their
/// text: to hash that takes as long as to write the question.
pub(crate) struct Prepared {
    text: String,
    types: Vec<Type>,
    known: Mutex<HashMap<usize, Known>>,
}

/// What a connection has prepared. While this is here no other connection has its address.
struct Known {
    connection: Weak<StatementCache>,
    statement: Statement,
}

impl Prepared {
    pub(crate) fn new(text: String, types: Vec<Type>) -> Self {
        Self {
            text,
            types,
            known: Mutex::default(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn types(&self) -> &[Type] {
        &self.types
    }

    /// The statement of a connection of a pool, which its cache stands for; prepared where it is asked
    /// for the first time.
    pub(crate) async fn on(
        &self,
        connection: &Arc<StatementCache>,
        client: &Client,
    ) -> Result<Statement, Error> {
        let at = Arc::as_ptr(connection).addr();
        if let Some(statement) = self.known(at) {
            return Ok(statement);
        }
        let statement = client.prepare_typed(&self.text, &self.types).await?;
        let known = Known {
            connection: Arc::downgrade(connection),
            statement: statement.clone(),
        };
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Connections that were closed.
        all.retain(|_, known| known.connection.strong_count() > 0);
        all.insert(at, known);
        Ok(statement)
    }

    fn known(&self, at: usize) -> Option<Statement> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some(all.get(&at)?.statement.clone())
    }
}
