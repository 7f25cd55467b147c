use std::path::Path;

use kvproto::{
    metapb::{Peer, Region, Store},
    pdpb::ErrorType,
};

use super::*;
use crate::server::{clock::ManualClock, keyspace::id_of};

fn open(dir: &Path) -> Cluster {
    Cluster::open(dir, Some(7), None, ManualClock::at(1_700_000_000_000)).unwrap()
}

fn bootstrapped(dir: &Path) -> Cluster {
    let cluster = open(dir);
    let region = Region { id: 2, peers: vec![Peer::voter(1, 3)], ..Default::default() };
    cluster.bootstrap(Store { id: 1, address: "a".to_owned(), ..Default::default() }, region).unwrap();
    cluster
}

fn config(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn patch(pairs: &[(&str, Option<&str>)]) -> ConfigPatch {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

#[test]
fn keyspaces_survive_a_restart_and_ids_are_given_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = bootstrapped(dir.path());
    let made = cluster.create_keyspace("one", config(&[("a", "b"), ("tso_keyspace_group_id", "9")])).unwrap();
    assert_eq!((id_of(&made), made.state(), made.created_at), (1, KeyspaceState::Enabled, 1_700_000_000));
    assert_eq!(made.config, config(&[("a", "b")]), "PD makes its own settings");
    cluster.create_keyspace_by_id(Some(2), "two", HashMap::new()).unwrap();
    drop(cluster);
    let cluster = open(dir.path());
    let names = |start, limit| -> Vec<String> {
        cluster.keyspaces(start, limit).unwrap().into_iter().map(|meta| meta.name).collect()
    };
    assert_eq!(names(0, 0), ["DEFAULT", "one", "two"]);
    assert_eq!((names(1, 1), names(3, 5)), (vec!["one".to_owned()], vec![]));
    assert_eq!(id_of(&cluster.create_keyspace("three", HashMap::new()).unwrap()), 3, "2 is in use");
    assert_eq!(cluster.keyspace_by_id(1).unwrap(), cluster.keyspace_by_name("one").unwrap());
}

#[test]
fn wrong_names_and_ids_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path());
    let error = cluster.create_keyspace("a", HashMap::new()).unwrap_err();
    assert!(matches!(&error, KeyspaceError::Refused(refusal) if refusal.kind == ErrorType::NotBootstrapped));
    drop(cluster);
    let cluster = bootstrapped(dir.path());
    for (name, error) in [
        ("", KeyspaceError::Name(String::new())),
        ("a b", KeyspaceError::Name("a b".to_owned())),
        ("123456789012345678901", KeyspaceError::Name("123456789012345678901".to_owned())),
        ("DEFAULT", KeyspaceError::ProtectedName("DEFAULT".to_owned())),
    ] {
        assert_eq!(cluster.create_keyspace(name, HashMap::new()), Err(error));
    }
    cluster.create_keyspace("a", HashMap::new()).unwrap();
    let by_id = |id, name| cluster.create_keyspace_by_id(id, name, HashMap::new()).unwrap_err();
    assert_eq!(cluster.create_keyspace("a", HashMap::new()), Err(KeyspaceError::Exists));
    assert_eq!(by_id(Some(1), "b"), KeyspaceError::Exists);
    assert_eq!(by_id(Some(0), "b"), KeyspaceError::Exists);
    assert_eq!(by_id(None, "b"), KeyspaceError::NoId);
    assert_eq!(by_id(Some(2), ""), KeyspaceError::NoName);
    assert_eq!(by_id(Some(MAX_ID + 1), "b"), KeyspaceError::Id(MAX_ID + 1));
    assert_eq!(cluster.keyspaces(MAX_ID + 1, 0), Err(KeyspaceError::StartId(MAX_ID + 1)));
    assert_eq!(cluster.keyspace_by_name("b"), Err(KeyspaceError::NotFound));
    assert_eq!(cluster.keyspaces(0, 0).unwrap().len(), 2, "no refused keyspace was added");
}

#[test]
fn states_follow_the_table_of_pd() {
    use KeyspaceState::{Archived, Disabled, Enabled, Tombstone};
    let dir = tempfile::tempdir().unwrap();
    let cluster = bootstrapped(dir.path());
    cluster.create_keyspace("a", HashMap::new()).unwrap();
    let to = |state| cluster.update_keyspace_state("a", state);
    assert_eq!(to(Archived), Err(KeyspaceError::Transition(Enabled, Archived)));
    for state in [Enabled, Disabled, Enabled, Disabled, Archived, Archived, Tombstone] {
        assert_eq!(to(state).unwrap().state(), state);
    }
    assert_eq!(
        to(Enabled).unwrap_err().to_string(),
        "cannot change keyspace state from TOMBSTONE to ENABLED"
    );
    let frozen = cluster.update_keyspace_config("a", patch(&[("k", Some("v"))]), &patch(&[]));
    assert_eq!(frozen, Err(KeyspaceError::Frozen(Tombstone)));
    assert_eq!(cluster.update_keyspace_state("DEFAULT", Disabled), Err(KeyspaceError::Default));
    assert_eq!(cluster.update_keyspace_state("b", Disabled), Err(KeyspaceError::NotFound));
}

#[test]
fn settings_change_if_their_preconditions_hold() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = bootstrapped(dir.path());
    cluster.create_keyspace("a", config(&[("x", "1"), ("y", "2")])).unwrap();
    let change = |changes: &[_], conditions: &[_]| {
        cluster.update_keyspace_config("a", patch(changes), &patch(conditions)).map(|meta| meta.config)
    };
    let changed = change(&[("x", None), ("z", Some("3"))], &[("x", Some("1")), ("z", None)]).unwrap();
    assert_eq!(changed, config(&[("y", "2"), ("z", "3")]));
    for (condition, text) in [
        (("y", None), "y must be absent"),
        (("x", Some("1")), "x does not exist"),
        (("y", Some("1")), "key=y expected=1 actual=2"),
    ] {
        let error = change(&[("y", Some("9"))], &[condition]).unwrap_err();
        assert_eq!(error, KeyspaceError::Precondition(text.to_owned()));
    }
    for refused in [("gc_management_type", Some("keyspace_level")), ("region_bound_type", None)] {
        assert!(matches!(change(&[refused], &[]), Err(KeyspaceError::Unsupported(_))));
    }
    assert_eq!(cluster.keyspace_by_name("a").unwrap().config, changed, "nothing of a refused change");
}
