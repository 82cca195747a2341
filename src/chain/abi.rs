//! Reads what Solidity's `abi.encode` wrote, strictly: every byte must be accounted for.
//!
//! Narrow integers must fit, booleans are 0 or 1, addresses have clean upper bytes, offsets point
//! where the encoder puts them, padding is zero and nothing follows. Chain logs come from
//! contracts that encode exactly so; anything else was damaged on the way.
//! Strings are handed out as bytes: they are written by strangers and need not be UTF-8.
//! Which events exist is in `mapping`; generic decoding of every other event is in `catalog`.

use alloy::primitives::{Address, B256, I256, U256};

/// Bytes in an ABI word.
const WORD: usize = 32;

/// Data that is not the encoding it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbiError {
    /// The event has another number of indexed fields.
    #[error("expected {expected} topics, found {found}")]
    Topics {
        /// Topics the event has, its own hash included.
        expected: usize,
        /// Topics given.
        found: usize,
    },
    /// The data ends too early.
    #[error("expected at least {expected} bytes of data, found {found}")]
    TooShort {
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Something follows the last field.
    #[error("expected {expected} bytes of data, found {found}")]
    TrailingBytes {
        /// Bytes the fields take.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A value does not fit its type.
    #[error("{word} is not {expected}")]
    OutOfRange {
        /// The Solidity type, with article.
        expected: &'static str,
        /// The word found.
        word: B256,
    },
    /// A dynamic field does not lie where the encoder puts it.
    #[error("expected a dynamic field at offset {expected}, found offset {found}")]
    Offset {
        /// Where the encoder puts it.
        expected: usize,
        /// Where the data says it is.
        found: U256,
    },
    /// Two arrays that belong together differ in length.
    #[error("expected {expected} items as in the array before, found {found}")]
    UnequalLengths {
        /// Length of the first array.
        expected: usize,
        /// Length of the second.
        found: usize,
    },
    /// The log is not what the declaration in a manifest says.
    #[error("{reason}")]
    NotTheEncoding {
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes that fill up the last word of a string are not zero.
    #[error("expected zero padding after {length} bytes of text, found something else")]
    Padding {
        /// Length of the string.
        length: usize,
    },
}

/// The fields of one event, read in order: indexed fields from topics, the rest from data.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    topics: &'a [B256],
    frame: Frame<'a>,
}

impl<'a> Fields<'a> {
    /// Starts reading. `topics` without the event's own hash; `head_words` are the words the
    /// fields take before anything dynamic.
    pub(crate) fn new(
        topics: &'a [B256],
        data: &'a [u8],
        head_words: usize,
    ) -> Result<Self, AbiError> {
        Ok(Self { topics, frame: Frame::new(data, 0, head_words)? })
    }

    /// The next indexed field, 32 bytes.
    pub(crate) fn indexed_b256(&mut self) -> Result<B256, AbiError> {
        match self.topics.split_first() {
            Some((topic, rest)) => {
                self.topics = rest;
                Ok(*topic)
            }
            None => Err(AbiError::Topics { expected: 1, found: 0 }),
        }
    }

    /// The next indexed field, an address.
    pub(crate) fn indexed_address(&mut self) -> Result<Address, AbiError> {
        address(&self.indexed_b256()?.0)
    }

    /// The next indexed field, an `uint64`.
    pub(crate) fn indexed_u64(&mut self) -> Result<u64, AbiError> {
        narrow(&self.indexed_b256()?.0, "an uint64")
    }

    /// The next indexed field, an `uint40`.
    pub(crate) fn indexed_u40(&mut self) -> Result<u64, AbiError> {
        narrow_40(&self.indexed_b256()?.0)
    }

    /// The fields in the data.
    pub(crate) fn data(&mut self) -> &mut Frame<'a> {
        &mut self.frame
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), AbiError> {
        let expected = self.frame.next_tail;
        let found = self.frame.data.len();
        if expected == found { Ok(()) } else { Err(AbiError::TrailingBytes { expected, found }) }
    }
}

/// A tuple being read: its head in order, its dynamic fields in the order the encoder puts them.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    data: &'a [u8],
    base: usize,
    next_head: usize,
    next_tail: usize,
}

impl<'a> Frame<'a> {
    fn new(data: &'a [u8], base: usize, head_words: usize) -> Result<Self, AbiError> {
        let next_tail = base + head_words * WORD;
        if data.len() < next_tail {
            return Err(AbiError::TooShort { expected: next_tail, found: data.len() });
        }
        Ok(Self { data, base, next_head: base, next_tail })
    }

    pub(crate) fn address(&mut self) -> Result<Address, AbiError> {
        address(self.word()?)
    }

    pub(crate) fn u256(&mut self) -> Result<U256, AbiError> {
        Ok(U256::from_be_bytes(*self.word()?))
    }

    pub(crate) fn i256(&mut self) -> Result<I256, AbiError> {
        Ok(I256::from_raw(self.u256()?))
    }

    pub(crate) fn b256(&mut self) -> Result<B256, AbiError> {
        Ok(B256::from(*self.word()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, AbiError> {
        narrow(self.word()?, "an uint64")
    }

    pub(crate) fn u32(&mut self) -> Result<u32, AbiError> {
        let word = self.word()?;
        let wide: u64 = narrow(word, "an uint32")?;
        u32::try_from(wide)
            .map_err(|_| AbiError::OutOfRange { expected: "an uint32", word: word.into() })
    }

    pub(crate) fn u16(&mut self) -> Result<u16, AbiError> {
        let word = self.word()?;
        let wide: u64 = narrow(word, "an uint16")?;
        u16::try_from(wide)
            .map_err(|_| AbiError::OutOfRange { expected: "an uint16", word: word.into() })
    }

    pub(crate) fn u40(&mut self) -> Result<u64, AbiError> {
        narrow_40(self.word()?)
    }

    /// A `bool`, or an enum of two values.
    pub(crate) fn bool(&mut self) -> Result<bool, AbiError> {
        let word = self.word()?;
        match narrow(word, "0 or 1")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(AbiError::OutOfRange { expected: "0 or 1", word: word.into() }),
        }
    }

    pub(crate) fn bytes4(&mut self) -> Result<[u8; 4], AbiError> {
        let word = self.word()?;
        match word.split_first_chunk::<4>() {
            Some((value, rest)) if rest.iter().all(|byte| *byte == 0) => Ok(*value),
            _ => Err(AbiError::OutOfRange { expected: "a bytes4", word: word.into() }),
        }
    }

    /// A `string` or `bytes`.
    pub(crate) fn text(&mut self) -> Result<Vec<u8>, AbiError> {
        let (length, start) = self.dynamic(1)?;
        let padded = length.div_ceil(WORD) * WORD;
        let bytes = self.slice(start, padded)?;
        let (text, padding) = bytes.split_at(length);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(AbiError::Padding { length });
        }
        self.next_tail = start + padded;
        Ok(text.to_vec())
    }

    pub(crate) fn addresses(&mut self) -> Result<Vec<Address>, AbiError> {
        self.array(address)
    }

    pub(crate) fn u256s(&mut self) -> Result<Vec<U256>, AbiError> {
        self.array(|word| Ok(U256::from_be_bytes(*word)))
    }

    /// An array of tuples of an address and an `uint256`.
    pub(crate) fn amounts(&mut self) -> Result<Vec<(Address, U256)>, AbiError> {
        let (length, start) = self.dynamic(2 * WORD)?;
        let bytes = self.slice(start, 2 * length * WORD)?;
        let (words, _) = bytes.as_chunks::<WORD>();
        let (pairs, _) = words.as_chunks::<2>();
        let pair =
            |[of, amount]: &[[u8; WORD]; 2]| Ok((address(of)?, U256::from_be_bytes(*amount)));
        let values = pairs.iter().map(pair).collect::<Result<Vec<_>, AbiError>>()?;
        self.next_tail = start + 2 * length * WORD;
        Ok(values)
    }

    /// A dynamic tuple whose head takes `head_words`.
    pub(crate) fn tuple<T>(
        &mut self,
        head_words: usize,
        read: impl FnOnce(&mut Frame<'a>) -> Result<T, AbiError>,
    ) -> Result<T, AbiError> {
        let start = self.offset()?;
        let mut inner = Frame::new(self.data, start, head_words)?;
        let value = read(&mut inner)?;
        self.next_tail = inner.next_tail;
        Ok(value)
    }

    fn array<T>(
        &mut self,
        read: impl Fn(&[u8; WORD]) -> Result<T, AbiError>,
    ) -> Result<Vec<T>, AbiError> {
        let (length, start) = self.dynamic(WORD)?;
        let bytes = self.slice(start, length * WORD)?;
        let (words, _) = bytes.as_chunks::<WORD>();
        let values = words.iter().map(read).collect::<Result<Vec<T>, AbiError>>()?;
        self.next_tail = start + length * WORD;
        Ok(values)
    }

    /// Length and first byte of a dynamic field of items of `item_bytes`. The length is at most
    /// what the data can hold, so that arithmetic on it cannot overflow.
    fn dynamic(&mut self, item_bytes: usize) -> Result<(usize, usize), AbiError> {
        let position = self.offset()?;
        let word = self.word_at(position)?;
        let start = position + WORD;
        let room = (self.data.len() - start) / item_bytes;
        match usize::try_from(U256::from_be_bytes(*word)) {
            Ok(length) if length <= room => Ok((length, start)),
            _ => Err(AbiError::OutOfRange {
                expected: "a length that fits the data",
                word: word.into(),
            }),
        }
    }

    /// The place of the next dynamic field, which the head must name.
    fn offset(&mut self) -> Result<usize, AbiError> {
        let found = self.u256()?;
        let expected = self.next_tail - self.base;
        if found == U256::from(expected) {
            Ok(self.next_tail)
        } else {
            Err(AbiError::Offset { expected, found })
        }
    }

    fn word(&mut self) -> Result<&'a [u8; WORD], AbiError> {
        let word = self.word_at(self.next_head)?;
        self.next_head += WORD;
        Ok(word)
    }

    fn word_at(&self, position: usize) -> Result<&'a [u8; WORD], AbiError> {
        self.data
            .get(position..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(AbiError::TooShort { expected: position + WORD, found: self.data.len() })
    }

    fn slice(&self, start: usize, length: usize) -> Result<&'a [u8], AbiError> {
        self.data
            .get(start..start + length)
            .ok_or(AbiError::TooShort { expected: start + length, found: self.data.len() })
    }
}

fn address(word: &[u8; WORD]) -> Result<Address, AbiError> {
    match word.split_last_chunk::<20>() {
        Some((upper, value)) if upper.iter().all(|byte| *byte == 0) => Ok(Address::from(*value)),
        _ => Err(AbiError::OutOfRange { expected: "an address", word: word.into() }),
    }
}

fn narrow_40(word: &[u8; WORD]) -> Result<u64, AbiError> {
    let expected = "an uint40";
    let wide = narrow(word, expected)?;
    if wide < 1 << 40 {
        Ok(wide)
    } else {
        Err(AbiError::OutOfRange { expected, word: word.into() })
    }
}

fn narrow(word: &[u8; WORD], expected: &'static str) -> Result<u64, AbiError> {
    match word.split_last_chunk::<8>() {
        Some((upper, value)) if upper.iter().all(|byte| *byte == 0) => {
            Ok(u64::from_be_bytes(*value))
        }
        _ => Err(AbiError::OutOfRange { expected, word: word.into() }),
    }
}
