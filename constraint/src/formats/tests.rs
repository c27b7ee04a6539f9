use llguidance::derivre::{NextByte, Regex};
use serde_json::json;

use super::*;

/// Texts that a format of JSON Schema has and has not; what no entry of the table lets in although
/// it is valid is in neither.
const JSON: &[(&str, &[&str], &[&str])] = &[
    (
        "date",
        &["2024-02-29", "2000-02-29", "0000-02-29", "1963-06-19", "2023-04-30", "2023-12-31"],
        &[
            "2023-02-29",
            "1900-02-29",
            "2100-02-29",
            "2024-02-30",
            "2023-04-31",
            "2023-00-10",
            "2023-13-01",
            "2023-01-00",
            "2023-01-32",
            "2023-1-01",
            "23-01-01",
            "2023/01/01",
            "",
            "2023-01-01T",
            "২০২৩-01-01",
        ],
    ),
    (
        "time",
        &[
            "08:30:06Z",
            "00:00:00.123456789012z",
            "23:59:59+23:59",
            "08:30:06-08:00",
            "23:59:60Z",
            "23:59:60+00:00",
            "15:59:60-08:00",
            "01:29:60+01:30",
            "23:29:60+23:30",
            "00:29:60-23:30",
            "05:44:60.5+05:45",
        ],
        &[
            "08:30:06",
            "24:00:00Z",
            "23:60:00Z",
            "22:59:60Z",
            "23:58:60Z",
            "23:59:61Z",
            "01:00:60+01:30",
            "08:30:06 PM",
            "08:30:06+24:00",
            "08:30:06+01:60",
            "8:30:06Z",
            "08:30:06.Z",
            "01:02:03Z+00:30",
            "08:30:06#00:20",
            "12:00:00+0100",
        ],
    ),
    (
        "date-time",
        &[
            "1963-06-19T08:30:06.283185Z",
            "1990-12-31t15:59:60-08:00",
            "1998-12-31T23:59:60Z",
            "2024-02-29T00:00:00+05:45",
        ],
        &[
            "1990-02-31T15:59:59Z",
            "1998-12-31T23:58:60Z",
            "1963-06-19 08:30:06Z",
            "1963-06-19",
            "1963-06-19T08:30:06",
            "2013-350T01:01:01Z",
            "1963-06-1T00:00:00Z",
        ],
    ),
    (
        "duration",
        &[
            "P4DT12H30M5S",
            "P4Y",
            "PT0S",
            "P0D",
            "P1M",
            "PT1M",
            "PT36H",
            "P1DT12H",
            "P2W",
            "P1Y2M3D",
            "PT1H2M3S",
        ],
        &["P", "P1YT", "PT", "4Y", "P2D1Y", "P1W2D", "P1D2H", "PT1D", "P2S", "P1Y2W", "PT1H2S"],
    ),
    (
        "uuid",
        &["2EB8AA08-aa98-11EA-b4aa-73b441d16380", "00000000-0000-0000-0000-000000000000"],
        &[
            "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
            "2eb8aa08aa9811eab4aa73b441d16380",
            "2eb8-aa08-aa98-11ea-b4aa73b44-1d16380",
            "2eb8aa08-aa98-11ea-b4ga-73b441d16380",
        ],
    ),
    (
        "ipv4",
        &["0.0.0.0", "255.255.255.255", "192.168.0.1", "87.10.0.1"],
        &["256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/24", "0x7f.0.0.1", "1.2..4"],
    ),
    (
        "ipv6",
        &[
            "::1",
            "::",
            "1:2:3:4:5:6:7:8",
            "1::8",
            "::42:ff:1",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::d6:192.168.0.1",
            "::ffff:192.168.0.1",
            "1:2::192.168.0.1",
            "d6::",
            "1000:1000:1000:1000:1000:1000:255.255.255.255",
        ],
        &[
            "12345::",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":1:2:3:4:5:6:7:8",
            ":1",
            "1:2:3:4:5:6:7:8::",
            "1::8%eth0",
            "::1.2.3",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::laptop",
            "::ffff:192.168.0.256",
            "1:2:3:4:1.2.3.4",
            "::%25",
        ],
    ),
    (
        "hostname",
        &[
            "example.com",
            "a",
            "1host",
            "a.b.c.d.e.f.g.h",
            "xbox",
            "xn",
            "x-1",
            "xn-a",
            "a-b.c-d",
            "some-very-long-bucket-name-1234567890.s3.us-east-1.example.com",
        ],
        &[
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a_b",
            "a.-b",
            "xn--a",
            "XN--aa---o47jg78q",
            "x-",
            "xn-",
            "r3---sn.example",
            "é.com",
            "a b",
        ],
    ),
    (
        "email",
        &[
            "joe.bloggs@example.com",
            "te~st@example.com",
            "a+b@x",
            "\"joe bloggs\"@example.com",
            "\"joe@\\\"x\"@example.com",
            "joe@[127.0.0.1]",
            "joe@[IPv6:::1]",
            "1@2",
        ],
        &[
            ".test@example.com",
            "test.@example.com",
            "te..st@example.com",
            "2962",
            "@x",
            "a@",
            "joe@[127.0.0.300]",
            "joe bloggs@example.com",
            "a@b@c",
            "joe@invalid=domain.com",
            "user@example.com, x",
            "joe@a..b",
        ],
    ),
    (
        "uri",
        &[
            "http://foo.bar/?baz=qux#quux",
            "http://foo.com/blah_(wikipedia)_blah#cite-1",
            "http://foo.bar/?q=Test%20URL-encoded",
            "http://-.~_!$&'()*+,;=:%40:80%2f@example.com",
            "http://223.255.255.254",
            "ldap://[2001:db8::7]/c=GB?objectClass?one",
            "a:",
            "mailto:John.Doe@example.com",
            "tel:+1-816-555-1212",
            "urn:oasis:names:1",
            "x:/a//b",
            "telnet://192.0.2.16:80/",
            "file:///etc/hosts",
        ],
        &[
            "//foo.bar/?baz=qux#quux",
            "/abc",
            "\\\\WINDOWS\\share",
            "abc",
            "http:// shouldfail",
            ":// should fail",
            "bar,baz:foo",
            "https://[@example.org/t",
            "https://example.org/a b",
            "https://example.org/\"",
            "https://example.org/{",
            "http://a/%zz",
            "1a:b",
            "x:#a#b",
        ],
    ),
];

/// Texts that only the typed formats tell apart.
const TYPED: &[(Format, &[&str], &[&str])] = &[
    (
        Format::Int,
        &["0", "7", "-1", "123456789012345678"],
        &["-0", "00", "01", "+1", "", "1.0", "1234567890123456789", "-", "1e3"],
    ),
    (
        Format::Float,
        &["0", "-0.5", "3.25", "1e9", "1.5E-10", "1234567890123456.1"],
        &["01", ".5", "1.", "1e", "+1", "NaN", "1e100", "0x1", "12345678901234567"],
    ),
    (Format::Bool, &["true", "false"], &["True", "0", "", "yes"]),
    (Format::Time, &["00:00:00", "23:59:59"], &["24:00:00", "23:59:60", "23:59", "12:00:00Z"]),
    (
        Format::DateTime,
        &["2024-02-29T23:59:59Z", "2024-01-01T00:00:00.5-03:30"],
        &["2023-02-29T00:00:00Z", "2024-01-01t00:00:00Z", "2024-01-01T00:00:00", "2024-01-01"],
    ),
    (
        Format::Email,
        &["joe.bloggs@example.com", "a@b.co"],
        &["joe@localhost", "joe@[127.0.0.1]", "\"joe\"@example.com", "a@.b", "a@b."],
    ),
];

#[track_caller]
fn check(name: &str, pattern: &str, texts: &[&str], matches: bool) {
    let mut regex = Regex::new(pattern).unwrap();
    for text in texts {
        assert_eq!(regex.is_match(text), matches, "{name}: {text:?}");
    }
}

#[test]
fn json_formats_have_their_texts_and_no_others() {
    for (name, good, bad) in JSON {
        let pattern = json_format(name).unwrap();
        check(name, pattern, good, true);
        check(name, pattern, bad, false);
        let schema = json!({"format": name});
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        for text in *good {
            assert!(validator.is_valid(&json!(text)), "{name}: {text:?} by the validator");
        }
    }
    assert_eq!(json_format("color"), None);
}

#[test]
fn typed_formats_have_their_texts_and_no_others() {
    for (format, good, bad) in TYPED {
        check(format.name(), regex(*format), good, true);
        check(format.name(), regex(*format), bad, false);
    }
    for format in [Format::Date, Format::Uuid, Format::Ipv4, Format::Ipv6, Format::Uri] {
        assert_eq!(Some(regex(format)), json_format(format.name()));
    }
}

#[test]
fn lengths_are_those_of_the_standards() {
    let host =
        |labels: &[usize]| labels.iter().map(|&len| "a".repeat(len)).collect::<Vec<_>>().join(".");
    for (name, text, matches) in [
        ("hostname", host(&[63]), true),
        ("hostname", host(&[64]), false),
        ("hostname", host(&[63, 63, 63]), true),
        ("hostname", host(&[63, 63, 63, 61]), false),
        ("hostname", host(&[63, 26, 26, 26, 26, 26, 26, 26]), true),
        ("email", format!("{}@b", "a".repeat(64)), true),
        ("email", format!("{}@b", "a".repeat(65)), false),
        ("email", format!("{}@b", host(&[31, 32])), false),
        ("email", format!("{}@b", host(&[12, 12, 12, 12, 12])), true),
    ] {
        check(name, json_format(name).unwrap(), &[&text], matches);
    }
}

#[test]
fn every_day_of_the_calendar_and_no_other_is_a_date() {
    let mut regex = Regex::new(&DATE).unwrap();
    for year in (0..=9999).step_by(7).chain(1896..1910).chain(1996..2010) {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for month in 0..=13 {
            let days = match month {
                1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
                4 | 6 | 9 | 11 => 30,
                2 => 28 + i32::from(leap),
                _ => 0,
            };
            for day in [0, 1, 9, 10, 27, 28, 29, 30, 31, 32] {
                let text = format!("{year:04}-{month:02}-{day:02}");
                assert_eq!(regex.is_match(&text), (1..=days).contains(&day), "{text}");
            }
        }
    }
}

#[test]
fn what_a_json_format_writes_at_random_is_valid() {
    let mut seed = 7u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((seed >> 33) % bound as u64).unwrap()
    };
    for (name, _, _) in JSON {
        let mut regex = Regex::new(json_format(name).unwrap()).unwrap();
        let schema = json!({"format": name});
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        for _ in 0..200 {
            let (mut state, mut text) = (regex.initial_state(), String::new());
            while text.len() < 400 {
                let next: Vec<(u8, _)> = (b' '..=b'~')
                    .map(|byte| (byte, regex.transition(state, byte)))
                    .filter(|(_, next)| !next.is_dead())
                    .collect();
                let stop = regex.is_accepting(state) && below(8) == 0;
                if stop || next.is_empty() || regex.next_byte(state) == NextByte::ForcedEOI {
                    break;
                }
                let (byte, to) = next[below(next.len())];
                text.push(char::from(byte));
                state = to;
            }
            if regex.is_accepting(state) {
                assert!(validator.is_valid(&json!(text)), "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn names_are_read_back() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!("date-time".parse(), Ok(Format::DateTime));
    let error = "colour".parse::<Format>().unwrap_err().to_string();
    assert!(error.starts_with("format \"colour\" is unknown, wanted int, float"), "{error}");
}
