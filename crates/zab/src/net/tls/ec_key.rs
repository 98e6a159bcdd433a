//! Private keys of elliptic curves as Java writes them: without the public key, which ring wants to see
//! (RFC 5915 leaves the choice). It is in the certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der;

/// 1.2.840.10045.2.1 (`id-ecPublicKey`) in DER.
const EC: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `[1]` of `ECPrivateKey`: the public key.
const PUBLIC: u8 = 0xa1;

/// The same key in PKCS8 with its public key. What is no key of an elliptic curve stays as it is.
#[must_use]
pub fn with_public_key(key: Vec<u8>, certificate: Option<&CertificateDer<'_>>) -> Vec<u8> {
    completed(&key, certificate).unwrap_or(key)
}

fn completed(key: &[u8], certificate: Option<&CertificateDer<'_>>) -> Option<Vec<u8>> {
    let (info, _) = der::read(der::SEQUENCE, key)?;
    let (version, rest) = der::read(der::INTEGER, info)?;
    let (algorithm, rest) = der::read(der::SEQUENCE, rest)?;
    let (octets, _) = der::read(der::OCTET_STRING, rest)?;
    let (ec_key, _) = der::read(der::SEQUENCE, octets)?;
    let (ec_version, ec_rest) = der::read(der::INTEGER, ec_key)?;
    let (secret, _) = der::read(der::OCTET_STRING, ec_rest)?;
    if !algorithm.starts_with(&EC) {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(certificate?).ok()?;
    let point = &certificate.public_key().subject_public_key.data;
    let ec_key = der::write(
        der::SEQUENCE,
        &[
            &der::write(der::INTEGER, &[ec_version]),
            &der::write(der::OCTET_STRING, &[secret]),
            &der::write(PUBLIC, &[&der::write(der::BIT_STRING, &[&[0], point])]),
        ],
    );
    let parts = [
        der::write(der::INTEGER, &[version]),
        der::write(der::SEQUENCE, &[algorithm]),
        der::write(der::OCTET_STRING, &[&ec_key]),
    ];
    Some(der::write(der::SEQUENCE, &[&parts[0], &parts[1], &parts[2]]))
}
