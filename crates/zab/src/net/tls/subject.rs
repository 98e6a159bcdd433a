//! The subject of a certificate as Java names it.

use rustls::pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::access::distinguished_name::{Attribute, rfc2253};

/// `getSubjectX500Principal().getName()`; `None` if the certificate makes no sense.
#[must_use]
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let parts: Vec<Vec<Attribute>> =
        certificate.subject().iter_rdn().map(|part| part.iter().map(attribute).collect()).collect();
    Some(rfc2253(&parts))
}

/// May the certificate be used now? `None` if it makes no sense.
#[must_use]
pub fn is_valid_at(certificate: &CertificateDer<'_>, unix_seconds: i64) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&unix_seconds))
}

fn attribute(found: &AttributeTypeAndValue<'_>) -> Attribute {
    let value = found.attr_value();
    Attribute { oid: found.attr_type().to_id_string(), text: text(value), der: der(value) }
}

fn text(value: &Any<'_>) -> Option<String> {
    match value.header.tag().0 {
        // UTF8String, and PrintableString, which is ASCII.
        12 | 19 | 22 => std::str::from_utf8(value.data).ok().map(str::to_owned),
        // TeletexString, which Java reads as ISO 8859-1.
        20 => Some(value.data.iter().map(|&byte| char::from(byte)).collect()),
        // UniversalString.
        28 => value
            .data
            .chunks(4)
            .map(|c| char::from_u32(c.iter().fold(0, |n, &b| n << 8 | u32::from(b))))
            .collect(),
        // BMPString.
        30 => {
            let units: Vec<u16> =
                value.data.chunks(2).map(|c| c.iter().fold(0, |n, &b| n << 8 | u16::from(b))).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// The value with its type and length.
fn der(value: &Any<'_>) -> Vec<u8> {
    super::der::write(u8::try_from(value.header.tag().0).unwrap_or(0), &[value.data])
}
