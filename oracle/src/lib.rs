//! Signer.
