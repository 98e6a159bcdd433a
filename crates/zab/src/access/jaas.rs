//! JAAS login files as far as a ZooKeeper server reads them: sections of login modules with options.
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_super="adminsecret"
//!     user_bob="bobsecret";
//! };
//! ```

use std::collections::BTreeMap;

use super::secret::Secret;

/// One login module of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its Java class.
    pub class: String,
    /// Its options.
    pub options: BTreeMap<String, Secret>,
}

/// Why a file is none. No message shows a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    /// Something else was expected there.
    #[error("line {line}: {expected} is wanted")]
    Expected {
        /// Counted from one.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The file ends within a section, a comment or a quoted text.
    #[error("the file ends where {0} is wanted")]
    Ended(&'static str),
    /// The file has no such section.
    #[error("there is no section {0:?}")]
    NoSection(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Bare or quoted.
    Word(String),
    /// One of `{};=`.
    Sign(char),
}

/// The modules of a section.
///
/// # Errors
/// The text is no JAAS file or has no such section.
pub fn section(text: &str, name: &str) -> Result<Vec<Module>, JaasError> {
    let tokens = tokens(text)?;
    let mut reader = TokenReader { tokens: &tokens };
    let mut found = None;
    while !reader.tokens.is_empty() {
        let section = reader.word("the name of a section")?;
        let modules = reader.modules()?;
        // The first of a name counts in Java.
        if section == name && found.is_none() {
            found = Some(modules);
        }
    }
    found.ok_or_else(|| JaasError::NoSection(name.to_owned()))
}

/// The users of `DigestLoginModule`s: options `user_NAME`.
#[must_use]
pub fn users(modules: &[Module]) -> BTreeMap<String, Secret> {
    let options = modules.iter().flat_map(|module| &module.options);
    options.filter_map(|(key, value)| Some((key.strip_prefix("user_")?.to_owned(), value.clone()))).collect()
}

struct TokenReader<'a> {
    tokens: &'a [(usize, Token)],
}

impl TokenReader<'_> {
    fn modules(&mut self) -> Result<Vec<Module>, JaasError> {
        self.sign('{', "{")?;
        let mut modules = Vec::new();
        while !self.is_next('}') {
            let class = self.word("the class of a login module or }")?;
            let flag = self.word("required, requisite, sufficient or optional")?;
            if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_lowercase().as_str()) {
                return Err(self.expected("required, requisite, sufficient or optional"));
            }
            let mut options = BTreeMap::new();
            while !self.is_next(';') {
                let key = self.word("an option or ;")?;
                self.sign('=', "= behind an option")?;
                options.insert(key, Secret::new(self.word("the value of an option")?));
            }
            self.sign(';', ";")?;
            modules.push(Module { class, options });
        }
        self.sign('}', "}")?;
        self.sign(';', "; behind }")?;
        Ok(modules)
    }

    fn word(&mut self, expected: &'static str) -> Result<String, JaasError> {
        match self.tokens.split_first() {
            Some(((_, Token::Word(word)), rest)) => {
                self.tokens = rest;
                Ok(word.clone())
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn sign(&mut self, sign: char, expected: &'static str) -> Result<(), JaasError> {
        if !self.is_next(sign) {
            return Err(self.expected(expected));
        }
        self.tokens = &self.tokens[1..];
        Ok(())
    }

    fn is_next(&self, sign: char) -> bool {
        self.tokens.first().is_some_and(|(_, token)| *token == Token::Sign(sign))
    }

    fn expected(&self, expected: &'static str) -> JaasError {
        match self.tokens.first() {
            Some(&(line, _)) => JaasError::Expected { line, expected },
            None => JaasError::Ended(expected),
        }
    }
}

/// Words and signs with their lines; comments as in Java and in shells are left out.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, JaasError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while rest.next_if(|&c| c != '\n').is_some() {},
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|&c| c != '\n').is_some() {},
            '/' if rest.peek() == Some(&'*') => line += skip_comment(&mut rest)?,
            '{' | '}' | ';' | '=' => tokens.push((line, Token::Sign(c))),
            '"' | '\'' => tokens.push((line, Token::Word(quoted(&mut rest, c, line)?))),
            c => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|&c| !c.is_whitespace() && !"{};=\"'".contains(c)) {
                    word.push(c);
                }
                tokens.push((line, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Returns the lines skipped.
fn skip_comment(rest: &mut Chars<'_>) -> Result<usize, JaasError> {
    rest.next();
    let (mut lines, mut last) = (0, ' ');
    for c in rest.by_ref() {
        if last == '*' && c == '/' {
            return Ok(lines);
        }
        lines += usize::from(c == '\n');
        last = c;
    }
    Err(JaasError::Ended("the end of a comment"))
}

fn quoted(rest: &mut Chars<'_>, quote: char, line: usize) -> Result<String, JaasError> {
    let mut word = String::new();
    while let Some(c) = rest.next() {
        match c {
            c if c == quote => return Ok(word),
            '\n' => return Err(JaasError::Expected { line, expected: "the end of a quoted text" }),
            '\\' => match rest.next() {
                Some('n') => word.push('\n'),
                Some('r') => word.push('\r'),
                Some('t') => word.push('\t'),
                Some(c) => word.push(c),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(JaasError::Ended("the end of a quoted text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "// users\n/* of\n * ours */\nServer {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n\
                        \x20 user_super=\"admin \\\"secret\\\"\" # a comment\n  user_bob=bob/secret;\n};\n\
                        Client { a.B optional; c.D REQUIRED x='y'; };\n";

    #[test]
    fn users_are_read_from_the_section_asked_for() {
        let modules = section(FILE, "Server").unwrap();
        assert_eq!(modules[0].class, "org.apache.zookeeper.server.auth.DigestLoginModule");
        let users = users(&modules);
        let shown: Vec<_> = users.iter().map(|(user, password)| (user.as_str(), password.reveal())).collect();
        assert_eq!(shown, [("bob", "bob/secret"), ("super", "admin \"secret\"")]);
        assert_eq!(section(FILE, "Client").unwrap().len(), 2);
        assert_eq!(section(FILE, "Nobody"), Err(JaasError::NoSection("Nobody".to_owned())));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_shows_no_secret() {
        let cases = [
            ("Server {\n a.B required user_bob=\"secret\"\n}", "line 3: an option or ; is wanted"),
            ("Server {\n a.B maybe;\n};", "line 2: required, requisite, sufficient or optional is wanted"),
            ("Server {\n a.B required;\n}", "the file ends where ; behind } is wanted"),
            ("Server {\n a.B required x=\"secret", "the file ends where the end of a quoted text is wanted"),
            ("Server {\n a.B required x=\"secret\n\"", "line 2: the end of a quoted text is wanted"),
            ("/* Server", "the file ends where the end of a comment is wanted"),
            ("Server a", "line 1: { is wanted"),
        ];
        for (text, expected) in cases {
            let error = section(text, "Server").unwrap_err().to_string();
            assert_eq!(error, expected, "{text:?}");
            assert!(!error.contains("secret"));
        }
    }
}
