//! Names of certificates' subjects (`javax.security.auth.x500.X500Principal`): as Java writes them, and which
//! texts it accepts.

/// One attribute of a name, as a certificate has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The type, as dotted numbers.
    pub oid: String,
    /// The value if it is a text.
    pub text: Option<String>,
    /// The whole value in DER.
    pub der: Vec<u8>,
}

/// The keywords of RFC 2253; types without one are written as numbers, with their value in hexadecimal.
const WRITTEN: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// What else Java reads.
const READ_TOO: [&str; 16] = [
    "S",
    "T",
    "IP",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "SERIALNUMBER",
    "ST",
    "UID",
    "DC",
    "STREET",
];

/// A name as `X500Principal.getName()` writes it (RFC 2253): the last part of the certificate's first.
#[must_use]
pub fn rfc2253(parts: &[Vec<Attribute>]) -> String {
    let part = |attributes: &Vec<Attribute>| attributes.iter().map(attribute).collect::<Vec<_>>().join("+");
    parts.iter().rev().map(part).collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &Attribute) -> String {
    let keyword = WRITTEN.iter().find(|(oid, _)| *oid == attribute.oid).map(|(_, keyword)| *keyword);
    match (keyword, &attribute.text) {
        (Some(keyword), Some(text)) => format!("{keyword}={}", escaped(text)),
        (keyword, _) => {
            let hex: String = attribute.der.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}=#{hex}", keyword.unwrap_or(&attribute.oid))
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    let last = text.chars().count().saturating_sub(1);
    let leading = text.chars().take_while(|&c| c == ' ').count();
    let trailing = text.chars().rev().take_while(|&c| c == ' ').count();
    for (index, c) in text.chars().enumerate() {
        let is_edge_space = c == ' ' && (index < leading || index + trailing > last);
        if ",=+<>#;\"\\".contains(c) || is_edge_space {
            out.push('\\');
        }
        if c == '\0' { out.push_str("\\00") } else { out.push(c) }
    }
    out
}

/// Does `X500Principal` accept this text?
#[must_use]
pub fn is_valid(text: &str) -> bool {
    let mut rest = text.trim();
    if rest.is_empty() {
        return true;
    }
    loop {
        let Some((keyword, value)) = rest.split_once('=') else {
            return false;
        };
        let Some(behind) = is_type(keyword.trim()).then(|| skip_value(value.trim_start())).flatten() else {
            return false;
        };
        match behind.chars().next() {
            None => return true,
            // A separator with nothing behind it ends no name.
            Some(_) => rest = behind[1..].trim_start(),
        }
    }
}

fn is_type(keyword: &str) -> bool {
    let upper = keyword.to_ascii_uppercase();
    let is_keyword = WRITTEN.iter().any(|(_, known)| *known == upper) || READ_TOO.contains(&upper.as_str());
    is_keyword || is_oid(upper.strip_prefix("OID.").unwrap_or(&upper))
}

fn is_oid(text: &str) -> bool {
    let numbers: Option<Vec<u64>> = text
        .split('.')
        .map(|part| if part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None })
        .collect();
    numbers.is_some_and(|n| n.len() >= 2 && n[0] <= 2 && (n[0] == 2 || n[1] < 40))
}

/// What is behind a value, from its separator on; `None` if it is no value.
fn skip_value(value: &str) -> Option<&str> {
    if let Some(hex) = value.strip_prefix('#') {
        let end = hex.find([',', ';', '+']).unwrap_or(hex.len());
        let digits = hex[..end].trim_end();
        let is_hex =
            !digits.is_empty() && digits.len() % 2 == 0 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return is_hex.then_some(&hex[end..]);
    }
    if let Some(quoted) = value.strip_prefix('"') {
        let behind = skip_quoted(quoted)?.trim_start();
        return (behind.is_empty() || behind.starts_with([',', ';', '+'])).then_some(behind);
    }
    let mut chars = value.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            ',' | ';' | '+' => return Some(&value[index..]),
            '\\' => {
                let (_, c) = chars.next()?;
                let is_escape = ",+<>;\"\\#= ".contains(c)
                    || (c.is_ascii_hexdigit() && chars.next().is_some_and(|(_, c)| c.is_ascii_hexdigit()));
                if !is_escape {
                    return None;
                }
            }
            '<' | '>' | '"' => return None,
            _ => {}
        }
    }
    Some("")
}

fn skip_quoted(quoted: &str) -> Option<&str> {
    let mut chars = quoted.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some(&quoted[index + 1..]),
            '\\' => {
                chars.next()?;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `new X500Principal(…)` of Java 17 said to each.
    #[test]
    fn the_texts_that_java_accepts_are_accepted() {
        let valid = [
            "",
            "CN=a",
            "cn=a,o=b",
            "CN = a , O = b",
            "CN=",
            "1.2.3=a",
            "OID.1.2.3=#0c0161",
            "CN=a;O=b",
            "CN=a+OU=b",
            "CN=\"a,b\"",
            "CN=a\\,b",
            "CN=a\\41",
            "CN=a=b",
            "CN=a\nb",
            "EMAILADDRESS=a@b",
            "SERIALNUMBER=5,DNQ=x,T=t,S=s,STREET=q,DC=d,UID=u,L=l,ST=st,IP=1,GENERATION=g,INITIALS=i,GIVENNAME=g,SURNAME=s",
            "C=DE1",
            "CN=#0c0161",
            "CN=\\ a",
            "CN=a\\#",
            "CN=ä",
        ];
        let invalid = [
            "CN",
            "=a",
            "X=a",
            "1.2.3=#0c016",
            "CN=a,",
            ",CN=a",
            "CN=\"a",
            "CN=a\\z",
            "CN=a<b",
            "CN=#zz",
            "CN=a,,O=b",
            "3.2=a",
            "1.40=a",
            "1=a",
            "CN=a\"b",
            "CN=\"a\" x",
            "CN=a+",
            "CN=#",
            "E=a@b",
            "anyone",
            "CN=a>",
            "CN=a\\",
        ];
        for (text, expected) in valid.map(|t| (t, true)).into_iter().chain(invalid.map(|t| (t, false))) {
            assert_eq!(is_valid(text), expected, "{text:?}");
        }
    }

    fn part(oid: &str, text: &str) -> Attribute {
        Attribute { oid: oid.to_owned(), text: Some(text.to_owned()), der: vec![0x13, 1, 0x61] }
    }

    /// As `X500Principal.getName()` of Java 17 wrote them.
    #[test]
    fn names_are_written_as_java_writes_them() {
        let name = [
            vec![part("2.5.4.6", "DE")],
            vec![part("2.5.4.10", "Acme, Inc.")],
            vec![part("2.5.4.3", " a=b#c "), part("1.2.840.113549.1.9.1", "a")],
        ];
        assert_eq!(rfc2253(&name), "CN=\\ a\\=b\\#c\\ +1.2.840.113549.1.9.1=#130161,O=Acme\\, Inc.,C=DE");
        assert_eq!(rfc2253(&[]), "");
    }
}
