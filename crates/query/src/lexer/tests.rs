use super::*;

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text);
    let next = || Some(lexer.next().unwrap().token).filter(|token| *token != Token::End);
    std::iter::from_fn(next).collect()
}

fn error(text: &str) -> (Reason, usize) {
    let mut lexer = Lexer::new(text);
    loop {
        match lexer.next() {
            Ok(lexeme) => assert_ne!(lexeme.token, Token::End, "{text} is valid"),
            Err(failure) => {
                let error = failure.in_text(text);
                return (error.reason, error.position.offset);
            }
        }
    }
}

fn string(text: &str) -> String {
    match tokens(text).as_slice() {
        [Token::Text(value)] => value.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_hyphen_belongs_to_a_name_and_a_minus_needs_a_blank_or_a_digit_before_it() {
    let minus = || Token::Symbol(Symbol::Minus);
    assert_eq!(tokens("hall-4"), [Token::Word("hall-4")]);
    assert_eq!(tokens("hall -4"), [Token::Word("hall"), minus(), Token::Integer(4)]);
    assert_eq!(tokens("9-hall"), [Token::Integer(9), minus(), Token::Word("hall")]);
}

#[test]
fn a_dot_after_a_name_is_not_the_start_of_a_number() {
    let dot = || Token::Symbol(Symbol::Dot);
    assert_eq!(tokens(".5 1.5"), [Token::Float(0.5), Token::Float(1.5)]);
    assert_eq!(tokens("a.5"), [Token::Word("a"), dot(), Token::Integer(5)]);
    assert_eq!(tokens("a .5"), [Token::Word("a"), Token::Float(0.5)]);
    assert_eq!(tokens("[[a]].5"), [Token::QuotedName("a"), dot(), Token::Integer(5)]);
}

#[test]
fn numbers_have_the_forms_of_json_and_hexadecimal() {
    for (text, integer) in [("0", 0), ("0x1F", 31), ("0XfF", 255), ("18446744073709551615", u64::MAX)] {
        assert_eq!(tokens(text), [Token::Integer(integer)]);
    }
    for (text, float) in
        [("1e3", 1000.0), ("2E-2", 0.02), ("1.5e+1", 15.0), ("18446744073709551616", 2f64.powi(64))]
    {
        assert_eq!(tokens(text), [Token::Float(float)]);
    }
    for text in ["12abc", "1e", "0x", "0x1G", "1_000", "0b1"] {
        assert_eq!(error(text), (Reason::Number(text.to_owned()), 0));
    }
    assert_eq!(error("1e400"), (Reason::NumberTooLarge, 0));
    assert_eq!(error("0x10000000000000000"), (Reason::NumberTooLarge, 0));
}

#[test]
fn a_quote_in_a_string_is_doubled_or_escaped() {
    for (text, value) in [
        ("'it''s'", "it's"),
        (r"'it\'s'", "it's"),
        (r#""say ""hi"" \"now\"""#, r#"say "hi" "now""#),
        (r#"'a"b'"#, r#"a"b"#),
        (r"'C:\\temp'", r"C:\temp"),
        (r"'\u00e9\ud83D\uDE00'", "é\u{1f600}"),
        ("''", ""),
        ("''''", "'"),
        ("'two\nlines'", "two\nlines"),
    ] {
        assert_eq!(string(text), value);
    }
}

#[test]
fn a_string_without_escapes_is_not_copied() {
    assert!(matches!(tokens("'plain'").as_slice(), [Token::Text(std::borrow::Cow::Borrowed("plain"))]));
}

#[test]
fn an_invalid_string_is_refused_where_the_fault_is() {
    for (text, reason, offset) in [
        ("a = 'open", Reason::UnterminatedString, 4),
        (r"'open\'", Reason::UnterminatedString, 0),
        (r"'a\n'", Reason::Escape, 2),
        (r"'\u12'", Reason::Escape, 1),
        (r"'\u+123'", Reason::Escape, 1),
        (r"'\ud800'", Reason::LoneSurrogate, 1),
        (r"'\udc00\ud800'", Reason::LoneSurrogate, 1),
        (r"'\ud800\u0041'", Reason::LoneSurrogate, 1),
        (r"'\u123é'", Reason::Escape, 1),
        (r"'\", Reason::Escape, 1),
    ] {
        assert_eq!(error(text), (reason, offset), "{text}");
    }
}

#[test]
fn comments_and_all_white_space_separate_tokens() {
    let words = [Token::Word("a"), Token::Word("b")];
    for text in ["a/* */b", "a\r\n\tb", "a\u{a0}b", "/* 'x */a/**/ /*/*/ b/* */"] {
        assert_eq!(tokens(text), words, "{text}");
    }
    assert_eq!(error("a /* b"), (Reason::UnterminatedComment, 2));
}

#[test]
fn a_quoted_name_contains_anything_but_its_end() {
    assert_eq!(tokens("[[a b.'c]]"), [Token::QuotedName("a b.'c")]);
    assert_eq!(tokens("[[a]b]]"), [Token::QuotedName("a]b")]);
    assert_eq!(error("x.[[a]"), (Reason::UnterminatedName, 2));
    assert_eq!(error("x.[[]]"), (Reason::EmptyName, 2));
}

#[test]
fn characters_without_meaning_are_refused_with_advice() {
    for (text, character, hint) in [
        ("a == 1", '=', Some(Hint::SingleEqual)),
        ("\u{2018}a\u{2019}", '\u{2018}', Some(Hint::StraightQuotes)),
        ("`a`", '`', Some(Hint::StraightQuotes)),
        ("a && b", '&', Some(Hint::UseAnd)),
        ("a || b", '|', Some(Hint::UseOr)),
        ("!a", '!', Some(Hint::UseNot)),
        ("a ?? b", '?', None),
        ("{a}", '{', None),
        ("a\u{0}", '\u{0}', None),
    ] {
        let mut lexer = Lexer::new(text);
        let failure = std::iter::repeat_with(|| lexer.next()).find_map(Result::err).unwrap();
        let error = failure.in_text(text);
        assert_eq!((error.reason, error.hint), (Reason::Character(character), hint), "{text}");
    }
}
