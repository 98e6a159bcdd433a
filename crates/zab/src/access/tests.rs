use super::secret::Secret;
use super::*;

fn acl(perms: i32, scheme: &str, name: &str) -> Acl {
    Acl { perms, id: id(scheme, name) }
}

fn under(rules: Rules) -> Identities {
    Identities::of_address("10.1.2.3".parse().unwrap(), Arc::new(rules))
}

fn who(auth: Option<&str>) -> Identities {
    let mut who = under(Rules::default());
    if let Some(auth) = auth {
        who.authenticate("digest", Some(auth.as_bytes())).unwrap();
    }
    who
}

/// Recorded: `user:pw`.
const USER_PW: &str = "user:2Om+GBbT2q/tS6pdvACZbbm7/1A=";

fn all_schemes() -> Rules {
    Rules { x509: true, sasl: true, ensemble: Some(vec!["ours".to_owned()]), ..Rules::default() }
}

#[test]
fn schemes_without_a_provider_authenticate_nobody() {
    for scheme in ["kerberos", "sasl", "super", "world", "auth", "x509", "ensemble", ""] {
        assert_eq!(who(None).authenticate(scheme, Some(b"x")), Err(Refusal::Failed), "{scheme}");
    }
    assert_eq!(who(None).authenticate("digest", None), Err(Refusal::Failed));
    assert_eq!(who(None).authenticate("ip", None), Ok(()));
    let off = Rules { digest: false, ..Rules::default() };
    assert_eq!(under(off).authenticate("digest", Some(b"user:pw")), Err(Refusal::Failed));
    // SASL and certificates have their own ways.
    for scheme in ["sasl", "x509"] {
        assert_eq!(under(all_schemes()).authenticate(scheme, Some(b"bob")), Err(Refusal::Failed));
    }
    let mut certified = under(all_schemes());
    certified.prove_certificate("CN=bob");
    assert_eq!(certified.authenticate("x509", None), Ok(()));
}

#[test]
fn what_acls_grant() {
    let cases = [
        (acl(1, "world", "anyone"), None, true),
        (acl(2, "world", "anyone"), None, false),
        (acl(1, "digest", USER_PW), None, false),
        (acl(1, "digest", USER_PW), Some("user:pw"), true),
        (acl(1, "digest", USER_PW), Some("user:other"), false),
        (acl(1, "ip", "10.1.2.3"), None, true),
        (acl(1, "ip", "10.1.0.0/16"), None, true),
        (acl(1, "ip", "10.2.0.0/16"), None, false),
        (acl(1, "ip", "0.0.0.0/0"), None, true),
        (acl(1, "ip", "::/0"), None, false),
    ];
    for (entry, auth, granted) in cases {
        assert_eq!(who(auth).may(perms::READ, std::slice::from_ref(&entry)), granted, "{entry:?} {auth:?}");
    }
    assert!(who(None).may(perms::WRITE, &[]));
    assert!(Identities::internal().may(perms::ADMIN, &[acl(1, "digest", "x:y")]));
}

#[test]
fn certificates_and_sasl_users_are_granted_what_names_them() {
    let mut who = under(all_schemes());
    who.prove_certificate("CN=bob,O=acme");
    who.prove_sasl("bob");
    for (entry, granted) in [
        (acl(1, "x509", "CN=bob,O=acme"), true),
        (acl(1, "x509", "CN=bob"), false),
        (acl(1, "sasl", "bob"), true),
        (acl(1, "sasl", "eve"), false),
        (acl(1, "digest", "bob"), false),
        (acl(1, "ensemble", "ours"), false),
    ] {
        assert_eq!(who.may(perms::READ, std::slice::from_ref(&entry)), granted, "{entry:?}");
    }
    // Without the provider the identity counts for nothing.
    let mut alone = under(Rules::default());
    alone.prove_sasl("bob");
    assert!(!alone.may(perms::READ, &[acl(1, "sasl", "bob")]));
}

#[test]
fn who_is_super() {
    let closed = [acl(31, "digest", "x:y")];
    let rules = Rules {
        super_digest: Some(Secret::new(USER_PW)),
        x509_super_user: Some("CN=root".to_owned()),
        sasl_super_users: vec!["boss".to_owned()],
        ..all_schemes()
    };
    let mut by_digest = under(rules.clone());
    by_digest.authenticate("digest", Some(b"user:no")).unwrap();
    assert!(!by_digest.may(perms::ADMIN, &closed));
    by_digest.authenticate("digest", Some(b"user:pw")).unwrap();
    assert!(by_digest.may(perms::ADMIN, &closed));
    let mut by_certificate = under(rules.clone());
    by_certificate.prove_certificate("CN=rooty");
    assert!(!by_certificate.may(perms::ADMIN, &closed));
    by_certificate.prove_certificate("CN=root");
    assert!(by_certificate.may(perms::ADMIN, &closed));
    let mut by_sasl = under(rules);
    by_sasl.prove_sasl("bob");
    assert!(!by_sasl.may(perms::ADMIN, &closed));
    by_sasl.prove_sasl("boss");
    assert!(by_sasl.may(perms::ADMIN, &closed));
    // An identity of the scheme super does not come from an ACL or from auth.
    assert!(!who(Some("super:")).may(perms::ADMIN, &closed));
}

#[test]
fn any_sasl_user_may_what_is_for_all_of_them() {
    let mut who = under(Rules { any_sasl_user: Some("all".to_owned()), ..all_schemes() });
    assert!(!who.may(perms::READ, &[acl(1, "sasl", "all")]));
    who.prove_sasl("bob");
    assert!(who.may(perms::READ, &[acl(1, "sasl", "all")]));
    assert!(!who.may(perms::READ, &[acl(1, "sasl", "eve")]));
}

#[test]
fn skipped_acls_grant_everything() {
    let who = under(Rules { skip_acl: true, ..Rules::default() });
    assert!(who.may(perms::ADMIN, &[acl(1, "digest", "x:y")]));
}

#[test]
fn what_fix_up_makes_of_acls() {
    let twice = [acl(1, "world", "anyone"), acl(1, "world", "anyone")];
    assert_eq!(who(None).fix_up(&twice), Ok(twice[..1].to_vec()));
    assert_eq!(who(Some("user:pw")).fix_up(&[acl(31, "auth", "")]), Ok(vec![acl(31, "digest", USER_PW)]));
    let invalid = [
        vec![],
        vec![acl(31, "auth", "")],
        vec![acl(1, "world", "me")],
        vec![acl(1, "digest", "nocolon")],
        vec![acl(1, "digest", "user:")],
        vec![acl(1, "ip", "10.0.0.0/33")],
        vec![acl(1, "nosuch", "x")],
        vec![acl(1, "super", "")],
        vec![acl(1, "sasl", "bob")],
        vec![acl(1, "x509", "CN=bob")],
        (0..1_000).map(|perms| acl(perms, "ip", "10.0.0.0/8")).collect(),
    ];
    for acl in invalid {
        assert_eq!(who(None).fix_up(&acl), Err(ErrorCode::InvalidAcl), "{acl:?}");
    }
}

#[test]
fn what_ids_the_schemes_have() {
    let who = under(all_schemes());
    for (scheme, name, valid) in [
        ("sasl", "bob", true),
        ("sasl", "zk/host@REALM", true),
        ("sasl", "a/b/c@REALM", false),
        ("sasl", "a@b@c", false),
        ("x509", "CN=bob", true),
        ("x509", "bob", false),
        ("digest", ":b", true),
        ("digest", "a:b:", true),
        ("digest", "a:b:c", false),
        ("digest", ":", false),
        ("ensemble", "ours", false),
    ] {
        assert_eq!(who.fix_up(&[acl(1, scheme, name)]).is_ok(), valid, "{scheme} {name}");
    }
}

#[test]
fn auth_stands_for_everything_proven() {
    let mut who = under(all_schemes());
    who.authenticate("digest", Some(b"user:pw")).unwrap();
    who.prove_certificate("CN=bob");
    who.prove_sasl("bob");
    let expected = vec![acl(31, "digest", USER_PW), acl(31, "x509", "CN=bob"), acl(31, "sasl", "bob")];
    assert_eq!(who.fix_up(&[acl(31, "auth", "")]), Ok(expected));
}

#[test]
fn names_are_shown_without_what_proves_them() {
    let mut who = under(Rules { super_digest: Some(Secret::new(USER_PW)), ..all_schemes() });
    who.authenticate("digest", Some(b"user:pw")).unwrap();
    who.prove_sasl("bob");
    assert_eq!(who.users(), "10.1.2.3,user,bob");
    let shown: Vec<_> = who.infos().into_iter().map(|info| (info.auth_scheme, info.user)).collect();
    let expected = [("ip", "10.1.2.3"), ("super", ""), ("digest", "user"), ("sasl", "bob")];
    assert_eq!(shown, expected.map(|(scheme, user)| (scheme.to_owned(), user.to_owned())));
}

#[test]
fn a_client_of_another_ensemble_is_sent_away() {
    let mut who = under(all_schemes());
    assert_eq!(who.authenticate("ensemble", Some(b"ours")), Ok(()));
    assert_eq!(who.authenticate("ensemble", None), Ok(()));
    assert_eq!(who.authenticate("ensemble", Some(b"theirs")), Err(Refusal::WrongEnsemble));
    let mut unnamed = under(Rules { ensemble: Some(vec![]), ..Rules::default() });
    assert_eq!(unnamed.authenticate("ensemble", Some(b"theirs")), Ok(()));
    assert_eq!(unnamed.all().len(), 1);
}

#[test]
fn enforced_schemes_admit_those_who_have_one() {
    let mut who = under(Rules { enforced: vec!["sasl".to_owned(), "digest".to_owned()], ..all_schemes() });
    assert!(!who.is_admitted());
    who.prove_certificate("CN=bob");
    assert!(!who.is_admitted());
    who.authenticate("digest", Some(b"user:pw")).unwrap();
    assert!(who.is_admitted());
}

#[test]
fn identities_do_not_grow_without_end() {
    let mut who = who(None);
    let long = vec![b'x'; MAX_IDENTITY_BYTES];
    assert_eq!(who.authenticate("digest", Some(&long)), Err(Refusal::Failed));
    let proven = (0..2 * MAX_IDENTITIES)
        .take_while(|n| who.authenticate("digest", Some(format!("user:{n}").as_bytes())).is_ok());
    assert_eq!(proven.count(), MAX_IDENTITIES - 1);
}

#[test]
fn hashes_are_masked() {
    assert_eq!(masked(&[acl(1, "digest", USER_PW)]), [acl(1, "digest", "user:x")]);
}
