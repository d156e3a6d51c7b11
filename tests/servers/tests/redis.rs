//! The Redis of tests: kept over kills where it is told so, gone with its owner.

mod leftovers;

use idemp_servers::{Redis, RedisPair, Reply};

const ALWAYS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn text(text: &str) -> Reply {
    Reply::Text(text.to_string())
}

#[test]
fn what_an_append_only_file_holds_is_there_after_a_kill_and_a_restart() {
    let mut redis = Redis::start(&ALWAYS);
    assert_eq!(redis.command(&["SET", "k", "7"]), text("OK"));
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "k"]), text("7"));
    redis.restart();
    assert_eq!(redis.command(&["GET", "k"]), text("7"));
}

#[test]
fn without_a_file_nothing_is_there_after_a_kill() {
    let mut redis = Redis::start(&[]);
    redis.command(&["SET", "k", "7"]);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "k"]), Reply::Nil);
}

#[test]
fn a_password_is_asked_for_and_in_the_url() {
    let redis = Redis::start(&["--requirepass", "sesame"]);
    assert_eq!(redis.command(&["PING"]), text("PONG"));
    assert_eq!(redis.url(), format!("redis://:sesame@{}", redis.addr()));
}

#[test]
fn a_paused_server_ends_with_its_owner() {
    let redis = Redis::shared();
    assert_eq!(redis.command(&["PING"]), text("PONG"));
    Redis::start(&[]).pause();
}

#[test]
fn a_replica_that_fell_behind_and_is_promoted_has_lost_what_it_did_not_hear() {
    let mut pair = RedisPair::start(&[]);
    pair.primary.command(&["SET", "heard", "1"]);
    pair.catch_up();
    pair.fall_behind();
    let written = pair
        .primary
        .commands(&[&["SET", "unheard", "1"], &["WAIT", "1", "50"]]);
    assert_eq!(written, [text("OK"), Reply::Number(0)]);
    pair.fail_over();
    assert_eq!(pair.replica.command(&["GET", "heard"]), text("1"));
    assert_eq!(pair.replica.command(&["GET", "unheard"]), Reply::Nil);
    assert_eq!(pair.replica.command(&["SET", "written", "1"]), text("OK"));
}

#[test]
fn a_replica_that_caught_up_has_everything() {
    let mut pair = RedisPair::start(&[]);
    pair.fall_behind();
    pair.primary.command(&["SET", "k", "1"]);
    pair.catch_up();
    let written = pair
        .primary
        .commands(&[&["SET", "k", "2"], &["WAIT", "1", "10000"]]);
    assert_eq!(written, [text("OK"), Reply::Number(1)]);
    pair.fail_over();
    assert_eq!(pair.replica.command(&["GET", "k"]), text("2"));
}

#[test]
fn it_ends_with_a_process_that_is_killed() {
    let test = "it_ends_with_a_process_that_is_killed";
    leftovers::of_a_killed_process(test, || Redis::shared().addr());
}

#[test]
fn it_ends_with_a_process_that_ends() {
    let test = "it_ends_with_a_process_that_ends";
    leftovers::of_a_process_that_ends(test, || Redis::shared().addr());
}
