//! The PostgreSQL of tests: kept over kills, gone with its owner.

mod leftovers;

use idemp_servers::Postgres;

#[test]
fn what_was_committed_is_there_after_a_kill_and_a_restart() {
    let mut postgres = Postgres::start();
    postgres.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    postgres.kill();
    postgres.start_again();
    assert_eq!(postgres.sql("SELECT n FROM kept"), "7");
    postgres.restart();
    assert_eq!(postgres.sql("SELECT n FROM kept"), "7");
}

#[test]
fn settings_hold_and_fsync_is_on() {
    let mut postgres = Postgres::start_with(&[("synchronous_commit", "off")]);
    assert_eq!(postgres.sql("SHOW synchronous_commit"), "off");
    assert_eq!(postgres.sql("SHOW fsync"), "on");
    postgres.kill();
    postgres.start_again();
    assert_eq!(postgres.sql("SHOW synchronous_commit"), "off");
}

#[test]
fn row_level_security_holds_for_the_owner_of_the_database() {
    let postgres = Postgres::shared();
    let role = postgres.sql(
        "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = \
         (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'idemp')",
    );
    assert_eq!(role, "f");
    assert!(postgres.url().contains("idemp_app"));
}

#[test]
fn a_database_of_ones_own_is_empty() {
    let url = Postgres::shared().database("of_ones_own");
    assert!(url.ends_with("/of_ones_own"), "{url}");
}

#[test]
fn it_ends_with_a_process_that_is_killed() {
    let test = "it_ends_with_a_process_that_is_killed";
    leftovers::of_a_killed_process(test, || Postgres::shared().addr());
}

#[test]
fn it_ends_with_a_process_that_ends() {
    let test = "it_ends_with_a_process_that_ends";
    leftovers::of_a_process_that_ends(test, || Postgres::shared().addr());
}
