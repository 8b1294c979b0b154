//! Rust source as words and signs, without comments and without what stands in quotes.
//!
//! Knows just enough of the language to tell code from text: line and nested block comments,
//! strings, raw strings, bytes, characters and lifetimes.

/// A word or a sign of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The word, or a single sign; a literal in quotes is `"`.
    pub(crate) text: String,
    /// Line, from 1.
    pub(crate) line: usize,
}

/// The tokens of a source text.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        letters: source.chars().collect(),
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer {
    letters: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.letters.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self) -> char {
        let letter = self.peek(0);
        self.at += 1;
        self.line += usize::from(letter == '\n');
        letter
    }

    fn next_token(&mut self) -> Option<Token> {
        self.skip_blank();
        if self.at >= self.letters.len() {
            return None;
        }
        let line = self.line;
        let text = match self.peek(0) {
            '"' => self.skip_string(),
            '\'' => self.skip_quote(),
            letter if is_word(letter) => {
                let word = self.word();
                self.prefixed_literal(&word).unwrap_or(word)
            }
            _ => self.take().to_string(),
        };
        Some(Token { text, line })
    }

    fn skip_blank(&mut self) {
        while self.at < self.letters.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => {
                    while self.at < self.letters.len() && self.peek(0) != '\n' {
                        self.take();
                    }
                }
                ('/', '*') => self.skip_block_comment(),
                (letter, _) if letter.is_whitespace() => {
                    self.take();
                }
                _ => return,
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.letters.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take();
                    continue;
                }
            }
            self.take();
            self.take();
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while is_word(self.peek(0)) {
            word.push(self.take());
        }
        word
    }

    /// The rest of `b"..."`, `r#"..."#`, `c"..."` and the like, if the word begins one.
    fn prefixed_literal(&mut self, word: &str) -> Option<String> {
        match (word, self.peek(0)) {
            ("b" | "c", '"') => Some(self.skip_string()),
            ("b", '\'') => Some(self.skip_quote()),
            ("r" | "br" | "cr", '"' | '#') => self.skip_raw_string(),
            _ => None,
        }
    }

    fn skip_string(&mut self) -> String {
        self.take();
        while self.at < self.letters.len() {
            match self.take() {
                '\\' => {
                    self.take();
                }
                '"' => break,
                _ => {}
            }
        }
        "\"".into()
    }

    fn skip_raw_string(&mut self) -> Option<String> {
        let n_hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        if self.peek(n_hashes) != '"' {
            return None; // A raw identifier.
        }
        self.at += n_hashes + 1;
        while self.at < self.letters.len() {
            let is_end = self.take() == '"' && (0..n_hashes).all(|ahead| self.peek(ahead) == '#');
            if is_end {
                self.at += n_hashes;
                break;
            }
        }
        Some("\"".into())
    }

    /// A character, or a lifetime: the latter has no second quote right behind its first letter.
    fn skip_quote(&mut self) -> String {
        self.take();
        if self.peek(0) != '\\' && self.peek(1) != '\'' {
            return "'".into();
        }
        while self.at < self.letters.len() {
            match self.take() {
                '\\' => {
                    self.take();
                }
                '\'' => break,
                _ => {}
            }
        }
        "\"".into()
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[test]
fn comments_and_literals_are_no_code() {
    let source = r##"
// crate::a
/* crate::b /* nested */ crate::c */
let x = "crate::d \" crate::e"; let y = r#"crate::f " "#; let z = b'\''; 'a: loop { 'x' }
use crate::g;
"##;
    let tokens = tokens(source);
    let at = tokens.iter().position(|token| token.text == "crate");
    let found = &tokens[at.unwrap()..];
    let texts: Vec<&str> = found.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(texts, ["crate", ":", ":", "g", ";"]);
    assert_eq!(found[0].line, 5);
}
