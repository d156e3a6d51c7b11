//! What has to be known about a server before it is trusted with a record.

use redis::Value;

use crate::fault::RedisFault;
use crate::options::{Copies, Options};

/// What `INFO` tells.
#[derive(Debug)]
pub(crate) struct Server {
    version: String,
    evicts: Option<String>,
    replica: bool,
    appends: bool,
    pub(crate) clustered: bool,
}

impl Server {
    pub(crate) fn read(info: &Value) -> Result<Self, RedisFault> {
        let text = match info {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes),
            Value::VerbatimString { text, .. } => text.into(),
            Value::ServerError(error) => return Err(RedisFault::refused(error)),
            _ => return Err(RedisFault::Reply),
        };
        let field = |name: &'static str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value.trim().to_string())
                .ok_or(RedisFault::Silent(name))
        };
        let policy = field("maxmemory_policy")?;
        let limited = field("maxmemory")? != "0";
        Ok(Self {
            version: field("redis_version")?,
            evicts: (limited && policy != "noeviction").then_some(policy),
            replica: field("role")? != "master",
            appends: field("aof_enabled").is_ok_and(|enabled| enabled == "1"),
            // Valkey has another name for the mode; this one both have.
            clustered: field("cluster_enabled").is_ok_and(|enabled| enabled == "1"),
        })
    }

    /// Whether the server can be used at all.
    pub(crate) fn check(&self, options: &Options) -> Result<(), RedisFault> {
        let too_old = |wanted| {
            let version = self.version.clone();
            Err(RedisFault::TooOld { version, wanted })
        };
        match &options.copies {
            _ if !self.is_at_least(7, 0) => too_old("7.0 for any use"),
            Some(Copies::OnDisk { .. }) if !self.is_at_least(7, 2) => too_old("7.2 for WAITAOF"),
            Some(Copies::OnDisk { local: true, .. }) if !self.appends => {
                Err(RedisFault::NoAppendFile)
            }
            _ if self.replica => Err(RedisFault::Replica),
            _ => Ok(()),
        }
    }

    /// Why no lease may be granted on this server.
    pub(crate) fn refusal(&self, options: &Options) -> Option<RedisFault> {
        let policy = self.evicts.clone().filter(|_| !options.allow_eviction)?;
        Some(RedisFault::Evicts { policy })
    }

    /// Valkey says, as its `redis_version`, which one it is compatible with.
    fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, maxmemory: &str, policy: &str, role: &str) -> Server {
        let info = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n# Memory\r\n\
             maxmemory:{maxmemory}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n\
             # Replication\r\nrole:{role}\r\n"
        );
        Server::read(&Value::BulkString(info.into())).unwrap()
    }

    #[test]
    fn old_servers_and_replicas_are_refused() {
        let options = Options::default();
        for (version, fits) in [
            ("6.2.14", false),
            ("7.0.0", true),
            ("7.2.4", true),
            ("10.0", true),
        ] {
            let server = server(version, "0", "noeviction", "master");
            assert_eq!(server.check(&options).is_ok(), fits, "{version}");
        }
        let replica = server("7.0.15", "0", "noeviction", "slave");
        assert!(matches!(replica.check(&options), Err(RedisFault::Replica)));
    }

    #[test]
    fn only_a_server_with_a_limit_and_a_policy_evicts() {
        let options = Options::default();
        for (maxmemory, policy, refused) in [
            ("0", "allkeys-lru", false),
            ("100", "noeviction", false),
            ("100", "volatile-ttl", true),
            ("100", "allkeys-lru", true),
        ] {
            let server = server("7.0.15", maxmemory, policy, "master");
            assert_eq!(server.refusal(&options).is_some(), refused, "{policy}");
        }
    }

    #[test]
    fn a_server_that_does_not_tell_is_not_trusted() {
        let told = Server::read(&Value::BulkString("redis_version:7.0.15\r\n".into()));
        assert!(matches!(told, Err(RedisFault::Silent("maxmemory_policy"))));
    }
}
