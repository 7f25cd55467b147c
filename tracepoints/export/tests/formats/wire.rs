//! Reads protobuf by its wire format alone, independent of the crate under test.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Number(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, Default)]
pub struct Message(Vec<(u64, Field)>);

impl Message {
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => Field::Fixed64(u64::from_le_bytes(split(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let len = varint(&mut bytes) as usize;
                    Field::Bytes(split(&mut bytes, len).to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(move |(n, _)| *n == number).map(|(_, f)| f)
    }

    pub fn messages(&self, number: u64) -> Vec<Message> {
        self.bytes(number).iter().map(|b| Self::read(b)).collect()
    }

    pub fn message(&self, number: u64) -> Option<Message> {
        self.messages(number).into_iter().next()
    }

    pub fn bytes(&self, number: u64) -> Vec<Vec<u8>> {
        self.all(number)
            .map(|f| match f {
                Field::Bytes(bytes) => bytes.clone(),
                other => panic!("field {number} is {other:?}"),
            })
            .collect()
    }

    pub fn text(&self, number: u64) -> Option<String> {
        self.bytes(number).into_iter().next().map(|b| String::from_utf8(b).unwrap())
    }

    pub fn number(&self, number: u64) -> Option<u64> {
        self.all(number).next().map(|f| match f {
            Field::Number(n) | Field::Fixed64(n) => *n,
            Field::Bytes(_) => panic!("field {number} holds bytes"),
        })
    }

    /// Reads a repeated field of 8 bytes each, packed or not.
    pub fn fixed(&self, number: u64) -> Vec<u64> {
        let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
        self.all(number)
            .flat_map(|f| match f {
                Field::Fixed64(n) | Field::Number(n) => vec![*n],
                Field::Bytes(b) => b.chunks(8).map(word).collect(),
            })
            .collect()
    }

    /// Reads a repeated number, packed or not.
    pub fn numbers(&self, number: u64) -> Vec<u64> {
        let packed = |mut b: &[u8]| {
            let mut out = Vec::new();
            while !b.is_empty() {
                out.push(varint(&mut b));
            }
            out
        };
        self.all(number)
            .flat_map(|f| match f {
                Field::Number(n) | Field::Fixed64(n) => vec![*n],
                Field::Bytes(b) => packed(b),
            })
            .collect()
    }
}

fn split<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut out = 0;
    for shift in (0..).step_by(7) {
        let byte = split(bytes, 1)[0];
        out |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    out
}
