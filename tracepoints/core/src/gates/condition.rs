//! A condition of a gate: comparisons of a stage's fields, joined by `and`, `or` and `not`.
//!
//! It is parsed once, when the gate is set. Its evaluation allocates nothing.
use super::timestamps::Timestamps;
use crate::{RequestKind, stamp::Stamp, trace::Step};

/// A request's arrival at a stage, as a condition sees it.
pub trait Arrival {
    /// The value of a stage's field.
    fn field(&self, name: &str) -> Option<u64>;
    /// The store; 0 for the client.
    fn store(&self) -> u64;
    /// The request's id.
    fn request(&self) -> u64;
    /// The request's kind.
    fn kind(&self) -> Option<RequestKind>;
    /// The request's user key.
    fn key(&self) -> Option<&[u8]>;
    /// The timestamp `tsN`; N counts from 1.
    fn timestamp(&self, n: usize) -> Option<u64>;
}

/// The arrival of a live request: its stamp, and the data of the request in the session.
pub struct Live<'a> {
    /// The stamp of the stage.
    pub stamp: &'a Stamp,
    /// The request's kind.
    pub kind: RequestKind,
    /// The request's user key.
    pub key: &'a [u8],
    /// The timestamps of the session.
    pub timestamps: &'a Timestamps,
}

impl Arrival for Live<'_> {
    fn field(&self, name: &str) -> Option<u64> {
        self.stamp.named_fields().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    fn store(&self) -> u64 {
        self.stamp.store.into()
    }

    fn request(&self) -> u64 {
        self.stamp.req.id()
    }

    fn kind(&self) -> Option<RequestKind> {
        Some(self.kind)
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self.key)
    }

    fn timestamp(&self, n: usize) -> Option<u64> {
        self.timestamps.get(n)
    }
}

/// The arrival of a recorded request: its step, its key and the timestamps of the trace.
pub struct Recorded<'a> {
    /// The step.
    pub step: &'a Step,
    /// The request's user key, if the recording has it.
    pub key: Option<&'a [u8]>,
    /// The timestamps of the trace up to this step.
    pub timestamps: &'a Timestamps,
}

impl Arrival for Recorded<'_> {
    fn field(&self, name: &str) -> Option<u64> {
        self.step.fields.get(name).copied()
    }

    fn store(&self) -> u64 {
        self.step.store
    }

    fn request(&self) -> u64 {
        self.step.request
    }

    fn kind(&self) -> Option<RequestKind> {
        RequestKind::parse(&self.step.kind)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key
    }

    fn timestamp(&self, n: usize) -> Option<u64> {
        self.timestamps.get(n)
    }
}

/// A parsed condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of two conditions holds.
    Or(Box<Condition>, Box<Condition>),
    /// Both conditions hold.
    And(Box<Condition>, Box<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
    /// The comparison of two values is true.
    Compare(Operand, Comparison, Operand),
    /// The value is not 0.
    Truth(Operand),
}

/// A comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant is named after its operator")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A number.
    Number(u64),
    /// A field of the stage.
    Field(String),
    /// The timestamp `tsN`; N counts from 1.
    Timestamp(usize),
    /// The store of the stamp.
    Store,
    /// The request's id.
    Request,
    /// The request's kind.
    Kind,
    /// The request's user key.
    Key,
    /// A key.
    Bytes(Vec<u8>),
}

/// The value of an operand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Operand {
    fn value<'a>(&'a self, at: &'a impl Arrival) -> Option<Value<'a>> {
        Some(match self {
            Operand::Number(n) => Value::Number(*n),
            Operand::Field(name) => Value::Number(at.field(name)?),
            Operand::Timestamp(n) => Value::Number(at.timestamp(*n)?),
            Operand::Store => Value::Number(at.store()),
            Operand::Request => Value::Number(at.request()),
            Operand::Kind => Value::Number(at.kind()? as u64),
            Operand::Key => Value::Bytes(at.key()?),
            Operand::Bytes(bytes) => Value::Bytes(bytes),
        })
    }
}

impl Condition {
    /// Whether the condition holds at this arrival. A comparison with an absent value is false.
    pub fn holds(&self, at: &impl Arrival) -> bool {
        match self {
            Condition::Or(left, right) => left.holds(at) || right.holds(at),
            Condition::And(left, right) => left.holds(at) && right.holds(at),
            Condition::Not(inner) => !inner.holds(at),
            Condition::Truth(operand) => {
                operand.value(at).is_some_and(|value| value != Value::Number(0) && value != Value::Bytes(b""))
            }
            Condition::Compare(left, comparison, right) => {
                let (Some(left), Some(right)) = (left.value(at), right.value(at)) else { return false };
                let order = left.cmp(&right);
                match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                }
            }
        }
    }
}
