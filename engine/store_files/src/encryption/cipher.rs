//! The ciphers of files: AES and SM4 in counter mode, which can decrypt from any offset.
use aes::{Aes128, Aes192, Aes256};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use kvproto::encryptionpb::EncryptionMethod;
use sm4::Sm4;

use super::key_error::KeyError;

/// Decrypts and encrypts the bytes of one file, which is the same operation in counter mode.
#[derive(Clone)]
pub enum Cipher {
    /// AES with a key of 16 bytes.
    Aes128(Ctr128BE<Aes128>),
    /// AES with a key of 24 bytes.
    Aes192(Ctr128BE<Aes192>),
    /// AES with a key of 32 bytes.
    Aes256(Ctr128BE<Aes256>),
    /// SM4, which has a key of 16 bytes.
    Sm4(Ctr128BE<Sm4>),
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys must not appear in logs.
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    /// Creates the cipher of a file with the key `key` and the initial counter `iv` of 16 bytes.
    ///
    /// # Errors
    /// The method is unknown, or the key or the counter has another length.
    pub fn new(method: EncryptionMethod, key: &[u8], iv: &[u8]) -> Result<Cipher, KeyError> {
        let name = method.as_str_name();
        let wrong = |_| KeyError::Length { method: name, key: key.len(), iv: iv.len() };
        match method {
            EncryptionMethod::Aes128Ctr => {
                Ctr128BE::new_from_slices(key, iv).map(Cipher::Aes128).map_err(wrong)
            }
            EncryptionMethod::Aes192Ctr => {
                Ctr128BE::new_from_slices(key, iv).map(Cipher::Aes192).map_err(wrong)
            }
            EncryptionMethod::Aes256Ctr => {
                Ctr128BE::new_from_slices(key, iv).map(Cipher::Aes256).map_err(wrong)
            }
            EncryptionMethod::Sm4Ctr => Ctr128BE::new_from_slices(key, iv).map(Cipher::Sm4).map_err(wrong),
            _ => Err(KeyError::Method { found: name }),
        }
    }

    /// Decrypts or encrypts `bytes`, which are at `offset` in the file.
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) {
        match self.clone() {
            Cipher::Aes128(cipher) => run(cipher, offset, bytes),
            Cipher::Aes192(cipher) => run(cipher, offset, bytes),
            Cipher::Aes256(cipher) => run(cipher, offset, bytes),
            Cipher::Sm4(cipher) => run(cipher, offset, bytes),
        }
    }
}

fn run(mut cipher: impl StreamCipher + StreamCipherSeek, offset: u64, bytes: &mut [u8]) {
    cipher.seek(offset);
    cipher.apply_keystream(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.5.5: CTR-AES256.
    #[test]
    fn aes_256_matches_the_standard_vector_at_any_offset() {
        let hex = |text: &str| keys::hex_decode(text).unwrap();
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let iv = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let secret = hex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
        let cipher = Cipher::new(EncryptionMethod::Aes256Ctr, &key, &iv).unwrap();
        for from in 0..secret.len() {
            let mut bytes = secret[from..].to_vec();
            cipher.apply(from as u64, &mut bytes);
            assert_eq!(bytes, plain[from..]);
        }
        let short = Cipher::new(EncryptionMethod::Aes256Ctr, &key[1..], &iv).unwrap_err();
        assert!(matches!(short, KeyError::Length { key: 31, iv: 16, .. }), "{short}");
        let unknown = Cipher::new(EncryptionMethod::Unknown, &key, &iv).unwrap_err();
        assert!(matches!(unknown, KeyError::Method { .. }), "{unknown}");
    }

    #[test]
    fn the_counter_wraps_around_at_16_bytes() {
        let cipher = Cipher::new(EncryptionMethod::Sm4Ctr, &[7; 16], &[0xff; 16]).unwrap();
        let (mut whole, mut tail) = ([0; 48], [0; 16]);
        cipher.apply(0, &mut whole);
        cipher.apply(32, &mut tail);
        assert_eq!(whole[32..], tail);
        assert_ne!(whole[..16], whole[16..32]);
    }
}
