//! The servers for tests in another language: `idemp-servers postgres redis cluster`.
//!
//! A line comes out for each that stands, `redis redis://127.0.0.1:PORT` (a cluster's has the
//! addresses of all its nodes), then `ready`. A command on the standard input is answered by one line:
//!
//! ```text
//! kill NAME          SIGKILL                                      -> ok
//! start NAME         the same files and port, after a kill        -> ok
//! pause NAME         it stands, and answers nothing               -> ok
//! resume NAME        after a pause                                -> ok
//! database NAME      a new and empty one in PostgreSQL            -> its address
//! fail-over          a replica takes over from the first primary  -> ok
//! ```
//!
//! All ends with the standard input, so with the process that holds its other end, however that ends.

use std::io::{self, BufRead, Write};

use idemp_servers::{Postgres, Redis, RedisCluster};

#[derive(Default)]
struct Servers {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    cluster: Option<RedisCluster>,
}

fn main() -> io::Result<()> {
    let mut servers = Servers::default();
    for name in std::env::args().skip(1) {
        let address = servers.start(&name);
        say(&format!("{name} {address}"))?;
    }
    say("ready")?;
    for command in io::stdin().lock().lines() {
        say(&servers.obey(&command?))?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Servers {
    fn start(&mut self, name: &str) -> String {
        match name {
            "postgres" => self.postgres.insert(Postgres::start()).url(),
            "redis" => self.redis.insert(Redis::start(&[])).url(),
            // What it acknowledged is there after a kill.
            "redis-durable" => {
                let durable = ["--appendonly", "yes", "--appendfsync", "always"];
                self.redis.insert(Redis::start(&durable)).url()
            }
            "cluster" => {
                let cluster = RedisCluster::start_with(3, 1, &[]);
                self.cluster.insert(cluster).urls().join(" ")
            }
            _ => panic!("there is postgres, redis, redis-durable and cluster, but no {name}"),
        }
    }

    fn obey(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        match (&words[..], &mut self.postgres, &mut self.redis) {
            (["database", name], Some(postgres), _) => return postgres.database(name),
            (["kill", "postgres"], Some(postgres), _) => postgres.kill(),
            (["start", "postgres"], Some(postgres), _) => postgres.start_again(),
            (["pause", "postgres"], Some(postgres), _) => postgres.pause(),
            (["resume", "postgres"], Some(postgres), _) => postgres.resume(),
            (["kill", "redis"], _, Some(redis)) => redis.kill(),
            (["start", "redis"], _, Some(redis)) => redis.start_again(),
            (["pause", "redis"], _, Some(redis)) => redis.pause(),
            (["resume", "redis"], _, Some(redis)) => redis.resume(),
            (["fail-over"], ..) => {
                let cluster = self.cluster.as_mut().expect("there is a cluster");
                cluster.fail_over(0);
            }
            _ => panic!("no such command, or no such server: {command}"),
        }
        "ok".to_string()
    }
}
