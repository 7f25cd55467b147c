//! Mutations: changes that a transaction requests for its keys.
use std::fmt;

use kvproto::kvrpcpb::{self, Assertion, Op};

use crate::{Error, Key, Result, Value};

/// Kind of a mutation, without its key.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum MutationType {
    /// Put a value.
    Put,
    /// Delete the key.
    Delete,
    /// Lock the key.
    Lock,
    /// Lock the key, shared with other transactions.
    SharedLock,
    /// Put a value if there is none.
    Insert,
    /// Any other kind.
    Other,
}

/// Change of one key that a transaction requests, with its assertion about the key's existence.
///
/// TiKV: `txn_types::types::Mutation`.
#[derive(Clone, PartialEq)]
pub enum Mutation {
    /// Put the value.
    Put((Key, Value), Assertion),
    /// Delete the key.
    Delete(Key, Assertion),
    /// Lock the key.
    Lock(Key, Assertion),
    /// Lock the key, shared with other transactions.
    SharedLock(Key, Assertion),
    /// Put the value if there is none; otherwise an `AlreadyExist` error.
    Insert((Key, Value), Assertion),
    /// Check that there is no value; otherwise an `AlreadyExist` error.
    CheckNotExists(Key, Assertion),
}

impl Mutation {
    /// Returns the key.
    pub fn key(&self) -> &Key {
        match self {
            Mutation::Put((key, _), _) | Mutation::Insert((key, _), _) => key,
            Mutation::Delete(key, _)
            | Mutation::Lock(key, _)
            | Mutation::SharedLock(key, _)
            | Mutation::CheckNotExists(key, _) => key,
        }
    }

    /// Returns the kind of the mutation.
    pub fn mutation_type(&self) -> MutationType {
        match self {
            Mutation::Put(..) => MutationType::Put,
            Mutation::Delete(..) => MutationType::Delete,
            Mutation::Lock(..) => MutationType::Lock,
            Mutation::SharedLock(..) => MutationType::SharedLock,
            Mutation::Insert(..) => MutationType::Insert,
            Mutation::CheckNotExists(..) => MutationType::Other,
        }
    }

    /// Returns the key, and the value of a put or insert.
    pub fn into_key_value(self) -> (Key, Option<Value>) {
        match self {
            Mutation::Put((key, value), _) | Mutation::Insert((key, value), _) => (key, Some(value)),
            Mutation::Delete(key, _)
            | Mutation::Lock(key, _)
            | Mutation::SharedLock(key, _)
            | Mutation::CheckNotExists(key, _) => (key, None),
        }
    }

    /// Whether the key must not exist.
    pub fn should_not_exists(&self) -> bool {
        matches!(self, Mutation::Insert(..) | Mutation::CheckNotExists(..))
    }

    /// Whether the mutation only checks.
    pub fn should_not_write(&self) -> bool {
        matches!(self, Mutation::CheckNotExists(..))
    }

    /// Returns the assertion about the key's existence.
    pub fn get_assertion(&self) -> Assertion {
        match self {
            Mutation::Put(_, assertion)
            | Mutation::Delete(_, assertion)
            | Mutation::Lock(_, assertion)
            | Mutation::SharedLock(_, assertion)
            | Mutation::Insert(_, assertion)
            | Mutation::CheckNotExists(_, assertion) => *assertion,
        }
    }

    /// Creates a put of `value` at `key`.
    pub fn make_put(key: Key, value: Value) -> Mutation {
        Mutation::Put((key, value), Assertion::None)
    }

    /// Creates a deletion of `key`.
    pub fn make_delete(key: Key) -> Mutation {
        Mutation::Delete(key, Assertion::None)
    }

    /// Creates a lock of `key`.
    pub fn make_lock(key: Key) -> Mutation {
        Mutation::Lock(key, Assertion::None)
    }

    /// Creates an insert of `value` at `key`.
    pub fn make_insert(key: Key, value: Value) -> Mutation {
        Mutation::Insert((key, value), Assertion::None)
    }

    /// Creates a check that `key` has no value.
    pub fn make_check_not_exists(key: Key) -> Mutation {
        Mutation::CheckNotExists(key, Assertion::None)
    }
}

impl TryFrom<kvrpcpb::Mutation> for Mutation {
    type Error = Error;

    /// Fails if the operation is not allowed in a prewrite, or if the assertion is unknown.
    fn try_from(m: kvrpcpb::Mutation) -> Result<Mutation> {
        let Ok(assertion) = Assertion::try_from(m.assertion) else {
            return Err(Error::InvalidOperation(format!("unknown assertion {}", m.assertion)));
        };
        let key = Key::from_raw(&m.key);
        match Op::try_from(m.op) {
            Ok(Op::Put) => Ok(Mutation::Put((key, m.value), assertion)),
            Ok(Op::Del) => Ok(Mutation::Delete(key, assertion)),
            Ok(Op::Lock) => Ok(Mutation::Lock(key, assertion)),
            Ok(Op::SharedLock) => Ok(Mutation::SharedLock(key, assertion)),
            Ok(Op::Insert) => Ok(Mutation::Insert((key, m.value), assertion)),
            Ok(Op::CheckNotExists) => Ok(Mutation::CheckNotExists(key, assertion)),
            Ok(other) => Err(Error::InvalidOperation(format!("a prewrite cannot have a mutation {other:?}"))),
            Err(_) => Err(Error::InvalidOperation(format!("unknown mutation operation {}", m.op))),
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Mutation::Put(..) => "Put",
            Mutation::Delete(..) => "Delete",
            Mutation::Lock(..) => "Lock",
            Mutation::SharedLock(..) => "SharedLock",
            Mutation::Insert(..) => "Insert",
            Mutation::CheckNotExists(..) => "CheckNotExists",
        };
        write!(f, "{name} key:{} assertion:{:?}", self.key(), self.get_assertion())
    }
}

impl fmt::Debug for Mutation {
    /// Omits the value, which may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LockType, WriteType};

    fn wire(op: i32) -> kvrpcpb::Mutation {
        let assertion = Assertion::Exist.into();
        kvrpcpb::Mutation { op, key: b"k".to_vec(), value: b"v".to_vec(), assertion }
    }

    #[test]
    fn wire_mutations_become_ours() {
        for (op, value, lock_type) in [
            (Op::Put, true, Some(LockType::Put)),
            (Op::Del, false, Some(LockType::Delete)),
            (Op::Lock, false, Some(LockType::Lock)),
            (Op::Insert, true, Some(LockType::Put)),
            (Op::CheckNotExists, false, None),
        ] {
            let mutation = Mutation::try_from(wire(op.into())).unwrap();
            assert_eq!(mutation.get_assertion(), Assertion::Exist);
            assert_eq!(LockType::from_mutation(&mutation), lock_type);
            assert_eq!(mutation.should_not_write(), lock_type.is_none());
            let key_value = (Key::from_raw(b"k"), value.then(|| b"v".to_vec()));
            assert_eq!(mutation.into_key_value(), key_value);
        }
    }

    #[test]
    fn operations_outside_of_prewrite_are_refused() {
        for op in [Op::Rollback.into(), Op::PessimisticLock.into(), 99] {
            assert!(matches!(Mutation::try_from(wire(op)), Err(Error::InvalidOperation(_))));
        }
        let unknown = kvrpcpb::Mutation { assertion: 7, ..wire(Op::Put.into()) };
        assert!(matches!(Mutation::try_from(unknown), Err(Error::InvalidOperation(_))));
    }

    #[test]
    fn only_prewritten_locks_become_writes() {
        assert_eq!(WriteType::from_lock_type(LockType::Put), Some(WriteType::Put));
        assert_eq!(WriteType::from_lock_type(LockType::Pessimistic), None);
    }

    #[test]
    fn a_value_is_not_printed() {
        let put = Mutation::make_put(Key::from_raw(b"a"), b"secret".to_vec());
        assert_eq!(format!("{put:?}"), "Put key:6100000000000000F8 assertion:None");
    }
}
