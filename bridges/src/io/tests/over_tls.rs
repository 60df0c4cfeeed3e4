use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, Identity, Validity};
use super::*;

/// Serves one connection, if it comes to that.
async fn serve(listener: &TcpListener, config: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    if let Ok(stream) = acceptor.accept(accept(listener).await).await {
        echo(stream).await;
    }
}

fn trusting(authority: &Authority) -> Tls {
    Tls {
        cacertfile: Some(authority.cacertfile()),
        ..Tls::default()
    }
}

/// Connects to a server with this configuration; a mebibyte goes there and back.
async fn talk_to(config: ServerConfig, tls: Tls) {
    let (listener, address) = listen().await;
    let call = async {
        let mut stream = connect_to(&format!("tls://{address}"), &with_tls(tls))
            .await
            .unwrap();
        talk(&mut stream).await;
    };
    tokio::join!(serve(&listener, config), call);
}

async fn fail_at(config: ServerConfig, tls: Tls) -> ConnectError {
    let (listener, address) = listen().await;
    let server = format!("tls://{address}");
    let options = with_tls(tls);
    tokio::join!(serve(&listener, config), fail(&server, &options)).1
}

async fn refused_by(config: ServerConfig, tls: Tls) -> String {
    let (listener, address) = listen().await;
    let server = format!("tls://{address}");
    let options = with_tls(tls);
    tokio::join!(serve(&listener, config), refusal(&server, &options)).1
}

#[tokio::test]
async fn both_versions_of_tls_carry_bytes() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1", Validity::Now);
    for version in [&TLS12, &TLS13] {
        let config = identity.server_of(&[version]);
        talk_to(config, trusting(&authority)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_refused_with_its_reason() {
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    let table = [
        (
            ours.sign("127.0.0.1", Validity::Past),
            "has expired, if the clock",
        ),
        (ours.sign("127.0.0.1", Validity::Future), "is not valid yet"),
        (
            ours.sign("other.example", Validity::Now),
            "not for `127.0.0.1`, but for: DnsName(\"other.example\")",
        ),
        (
            theirs.sign("127.0.0.1", Validity::Now),
            "signed by one that is trusted",
        ),
        (
            Authority::new("ours").sign("127.0.0.1", Validity::Now),
            "another key has signed it",
        ),
        // Whether it is named in `cacertfile` or not.
        (ours.own_identity(), "give it one with `CA:FALSE`"),
        (theirs.own_identity(), "give it one with `CA:FALSE`"),
    ];
    for (identity, reason) in table {
        let error = fail_at(identity.server(), trusting(&ours)).await;
        assert_failed(&error, Phase::Tls, reason);
        let anybody = Tls {
            verify: false,
            ..Tls::default()
        };
        talk_to(identity.server(), anybody).await;
    }
}

#[tokio::test]
async fn a_server_that_has_signed_its_certificate_itself_is_trusted_by_that_certificate() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let identity = Identity::own("127.0.0.1");
    let tls = Tls {
        cacertfile: Some(ours.file("server.pem", &identity.certificate_pem())),
        ..Tls::default()
    };
    talk_to(identity.server(), tls.clone()).await;
    // Nobody else is, with the same name or another.
    for stranger in [
        Identity::own("127.0.0.1"),
        theirs.sign("127.0.0.1", Validity::Now),
    ] {
        let error = fail_at(stranger.server(), tls.clone()).await;
        assert_eq!(error.phase, Phase::Tls, "{error}");
    }
}

#[tokio::test]
async fn the_system_trusts_no_certificate_made_here() {
    let identity = Authority::new("ours").sign("127.0.0.1", Validity::Now);
    let error = fail_at(identity.server(), Tls::default()).await;
    // A machine may have no trusted certificates at all.
    let is_expected = error.phase == Phase::Tls && error.reason.contains("trusted here")
        || error.phase == Phase::Certificates && error.reason.contains("operating system");
    assert!(is_expected, "{error}");
}

#[tokio::test]
async fn another_name_can_be_asked_for() {
    let authority = Authority::new("ours");
    let identity = authority.sign("hub.example", Validity::Now);
    let tls = Tls {
        server_name: Some("hub.example.".to_owned()),
        ..trusting(&authority)
    };
    let (listener, address) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(identity.server()));
    let asked = async {
        let stream = acceptor.accept(accept(&listener).await).await.unwrap();
        stream.get_ref().1.server_name().map(str::to_owned)
    };
    let options = with_tls(tls);
    let server = format!("tls://{address}");
    let (asked, connected) = tokio::join!(asked, connect_to(&server, &options));
    assert_eq!(asked.as_deref(), Some("hub.example"));
    assert!(connected.is_ok());
}

#[tokio::test]
async fn a_protocol_is_negotiated() {
    const AWS: &str = "x-amzn-mqtt-ca";
    let authority = Authority::new("ours");
    let mut config = authority.sign("127.0.0.1", Validity::Now).server();
    config.alpn_protocols = vec![AWS.as_bytes().to_vec()];
    let tls = |alpn: &str| Tls {
        alpn: vec![alpn.to_owned()],
        ..trusting(&authority)
    };
    talk_to(config.clone(), tls(AWS)).await;
    let error = fail_at(config, tls("mqtt")).await;
    assert_failed(&error, Phase::Tls, "no protocol of those offered");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new("ours");
    let server = authority.sign("127.0.0.1", Validity::Now);
    let client = authority.sign("bridge", Validity::Now);
    let tls = Tls {
        certfile: Some(authority.file("bridge.pem", &client.certificate_pem())),
        keyfile: Some(authority.file("bridge.key", &client.key_pem())),
        ..trusting(&authority)
    };
    for version in [&TLS12, &TLS13] {
        talk_to(authority.strict_server(&server, version), tls.clone()).await;
    }
    let stranger = Authority::new("theirs").sign("bridge", Validity::Now);
    authority.file("bridge.pem", &stranger.certificate_pem());
    authority.file("bridge.key", &stranger.key_pem());
    for version in [&TLS12, &TLS13] {
        let reason = refused_by(authority.strict_server(&server, version), tls.clone()).await;
        assert_eq!(
            reason,
            "the server does not trust the client certificate's signer"
        );
    }
}

#[tokio::test]
async fn a_missing_client_certificate_is_named() {
    let authority = Authority::new("ours");
    let server = authority.sign("127.0.0.1", Validity::Now);
    for version in [&TLS12, &TLS13] {
        let config = authority.strict_server(&server, version);
        let reason = refused_by(config, trusting(&authority)).await;
        assert_eq!(
            reason,
            "the server wants a client certificate: `certfile` and `keyfile`"
        );
    }
}

#[tokio::test]
async fn files_are_read_at_every_connect() {
    let authority = Authority::new("ours");
    let tls = trusting(&authority);
    let next = Authority::new("next");
    let identity = next.sign("127.0.0.1", Validity::Now);
    let error = fail_at(identity.server(), tls.clone()).await;
    assert_failed(&error, Phase::Tls, "signed by one that is trusted");
    std::fs::copy(next.cacertfile(), authority.folder().join("ca.pem")).unwrap();
    talk_to(identity.server(), tls).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let authority = Authority::new("ours");
    let client = authority.sign("bridge", Validity::Now);
    let other = Authority::new("theirs").sign("bridge", Validity::Now);
    let begin = "-----BEGIN CERTIFICATE-----";
    let damaged = format!("{begin}\nAAAA\n-----END CERTIFICATE-----\n");
    let absent = authority.folder().join("absent.pem");
    let folder = authority.folder().to_owned();
    let text = authority.file("text.pem", "no PEM");
    let damaged = authority.file("damaged.pem", &damaged);
    let cut = authority.file("cut.pem", &format!("{begin}\nAAAA\n"));
    let begins_amiss = authority.file("amiss.pem", "-----BEGIN CERTIFICATE---\n");
    let wrong_key = authority.file("other.key", &other.key_pem());
    let good = Tls {
        cacertfile: Some(authority.cacertfile()),
        certfile: Some(authority.file("bridge.pem", &client.certificate_pem())),
        keyfile: Some(authority.file("bridge.key", &client.key_pem())),
        ..Tls::default()
    };
    assert_eq!(with_tls(good.clone()).check_files(), Ok(()));
    let (no_file, no_certificate) = ("No such file", "there is no certificate in it");
    let table = [
        ("cacertfile", &absent, no_file),
        ("cacertfile", &folder, "Is a directory"),
        ("cacertfile", &text, no_certificate),
        (
            "cacertfile",
            &damaged,
            "a certificate in it cannot be read: ",
        ),
        ("cacertfile", &cut, "a certificate in it has no end"),
        (
            "cacertfile",
            &begins_amiss,
            "a line in it begins nothing: `-----BEGIN CERTIFICATE---`",
        ),
        ("certfile", &absent, no_file),
        ("certfile", &text, no_certificate),
        ("certfile", &wrong_key, no_certificate),
        ("certfile", &damaged, "a certificate in it cannot be read: "),
        ("keyfile", &absent, no_file),
        ("keyfile", &text, "there is no private key in it"),
        (
            "keyfile",
            &wrong_key,
            "the key is not that of the certificate",
        ),
    ];
    for (key, path, reason) in table {
        let mut tls = good.clone();
        let place = match key {
            "cacertfile" => &mut tls.cacertfile,
            "certfile" => &mut tls.certfile,
            _ => &mut tls.keyfile,
        };
        *place = Some(path.clone());
        let options = with_tls(tls);
        // Whether the hub can be reached or not.
        let (listener, address) = listen().await;
        let server = format!("tls://{address}");
        let error = fail(&server, &options).await;
        let expected = format!("ssl.{key}: `{}`: {reason}", path.display());
        assert_failed(&error, Phase::Certificates, &expected);
        drop(listener);
        assert_eq!(fail(&server, &options).await, error);
        let found = options.check_files().unwrap_err();
        assert_eq!(found.to_string(), error.reason);
    }
}

#[test]
fn a_file_is_named_from_the_root_on() {
    let tls = Tls {
        cacertfile: Some("absent.pem".into()),
        ..Tls::default()
    };
    let error = with_tls(tls).check_files().unwrap_err();
    let path = std::env::current_dir().unwrap().join("absent.pem");
    let expected = format!("`{}`: No such file", path.display());
    assert!(error.problem.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_recognized() {
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        drain(stream).await;
    };
    let server = format!("tls://{address}");
    let options = with_tls(Tls {
        verify: false,
        ..Tls::default()
    });
    let (_, error) = tokio::join!(serve, fail(&server, &options));
    assert_failed(&error, Phase::Tls, "does not speak TLS");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_recognized() {
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        stream.read_u8().await.unwrap();
        stream.shutdown().await.unwrap();
        // What is still to be read would make it a reset.
        drain(stream).await;
    };
    let server = format!("tls://{address}");
    let options = with_tls(Tls {
        verify: false,
        ..Tls::default()
    });
    let (_, error) = tokio::join!(serve, fail(&server, &options));
    assert_failed(&error, Phase::Tls, "the server closed the connection");
}
