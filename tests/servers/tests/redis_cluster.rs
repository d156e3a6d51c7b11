//! The cluster of tests: slots move with their keys, and a replica takes over.

use idemp_servers::{RedisCluster, Reply};

#[test]
fn a_slot_moves_with_its_keys_and_its_old_owner_says_where_it_is() {
    let cluster = RedisCluster::start(3);
    assert_eq!(cluster.urls().len(), 3);
    let slot = cluster.slot_of("k");
    let from = cluster.owner(slot);
    let to = (from + 1) % 3;
    let get = |node: usize| cluster.nodes()[node].command(&["GET", "k"]);
    cluster.nodes()[from].command(&["SET", "k", "7"]);
    cluster.migrate_slot_while(slot, to, || {
        assert!(matches!(get(from), Reply::Error(error) if error.starts_with("ASK")));
    });
    assert!(matches!(get(from), Reply::Error(error) if error.starts_with("MOVED")));
    assert_eq!(get(to), Reply::Text("7".to_string()));
    assert_eq!(cluster.owner(slot), to);
}

#[test]
fn a_replica_takes_the_place_of_its_primary() {
    let mut cluster = RedisCluster::start_with(3, 1, &[]);
    let slot = cluster.slot_of("k");
    let lost = cluster.owner(slot);
    cluster.nodes()[lost].commands(&[&["SET", "k", "7"], &["WAIT", "1", "10000"]]);
    let heir = cluster.fail_over(lost);
    assert_ne!(heir, lost);
    assert_eq!(cluster.owner(slot), heir);
    let kept = cluster.nodes()[heir].command(&["GET", "k"]);
    assert_eq!(kept, Reply::Text("7".to_string()));
    assert_eq!(cluster.urls().len(), 5);
}
