//! How the server is reached: through which proxy, and whose signature on its certificate counts.

use crate::{
    server_url::ServerUrl,
    settings::{Proxies, Said, Settings, patterns::items},
};
use rustls::{CertificateError, RootCertStore, pki_types::CertificateDer};
use std::{fs, net::IpAddr};
use ureq::{
    Proxy, ProxyProtocol,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

/// What `proxy` says where there shall be none.
const NO_PROXY: &str = "none";

/// Why the server cannot be reached as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The certificates that are to be trusted cannot be used.
    #[error("{origin}: {path}: {why}")]
    CaFile {
        /// Who named the file.
        origin: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The proxy makes no sense. What was said is left out: it may have a password.
    #[error("{0} is no proxy's URL such as http://proxy.example:3128 (http:// or https://)")]
    Proxy(String),
}

/// The way to one server.
#[derive(Clone, Debug)]
pub struct Transport {
    proxy: Option<Proxy>,
    roots: RootCerts,
}

impl Transport {
    /// No proxy, and Mozilla's list.
    pub fn direct() -> Self {
        Self { proxy: None, roots: RootCerts::WebPki }
    }

    /// The way to `url`. Reads the certificates.
    pub fn to(url: &ServerUrl, settings: &Settings) -> Result<Self, TransportError> {
        Ok(Self {
            proxy: proxy_of(url, &settings.proxies)?,
            roots: settings.ca_file.as_ref().map_or(Ok(RootCerts::WebPki), read_certificates)?,
        })
    }

    /// The proxy in between.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// What certificates are checked by.
    pub fn tls(&self) -> TlsConfig {
        TlsConfig::builder().root_certs(self.roots.clone()).build()
    }
}

/// All certificates of a PEM file. One that cannot be read is an error: without it, others than meant would be trusted.
fn read_certificates(file: &Said) -> Result<RootCerts, TransportError> {
    let fault =
        |why: String| TransportError::CaFile { origin: file.origin.clone(), path: file.text.clone(), why };
    let pem = fs::read(&file.text).map_err(|error| fault(error.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    let mut store = RootCertStore::empty();
    for item in parse_pem(&pem) {
        let item = item.map_err(|error| fault(format!("it is no PEM file: {error}")))?;
        if let PemItem::Certificate(certificate) = item {
            store
                .add(CertificateDer::from(certificate.der()))
                .map_err(|error| fault(format!("certificate {}: {error}", certificates.len() + 1)))?;
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(fault("it has no certificate (PEM, -----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}

/// Who names a proxy for a server, and which. Never one to this machine itself.
pub fn proxy_said<'a>(url: &ServerUrl, proxies: &'a Proxies) -> Option<&'a Said> {
    let https = proxies.https.as_ref().filter(|_| url.is_https());
    let said = proxies.setting.as_ref().or(https).or(proxies.all.as_ref());
    let is_left_out = || proxies.none.as_ref().is_some_and(|list| names(list, url.host()));
    said.filter(|said| said.text != NO_PROXY && !url.is_loopback() && !is_left_out())
}

/// The proxy for a server.
fn proxy_of(url: &ServerUrl, proxies: &Proxies) -> Result<Option<Proxy>, TransportError> {
    let Some(said) = proxy_said(url, proxies) else { return Ok(None) };
    // Another protocol would be passed over in silence, and the server asked without a proxy.
    let speaks_http = |proxy: &Proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
    let proxy = Proxy::new(&said.text).ok().filter(speaks_http);
    proxy.map(Some).ok_or_else(|| TransportError::Proxy(said.origin.clone()))
}

/// Whether a list such as `NO_PROXY`'s names a host: `*` for all, a domain with all below it, an address, or a network
/// such as `10.0.0.0/8`.
fn names(list: &str, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    items(list).any(|item| {
        let item = item.to_ascii_lowercase();
        if let (Ok(address), Some((network, bits))) = (host.parse(), item.split_once('/')) {
            return is_within(address, network, bits).unwrap_or(false);
        }
        let domain = item.trim_start_matches('*').trim_start_matches('.');
        let above = host.strip_suffix(domain);
        item == "*"
            || above.is_some_and(|above| !domain.is_empty() && (above.is_empty() || above.ends_with('.')))
    })
}

/// Whether an address lies in a network; `None` if that is none, or of the other kind.
fn is_within(address: IpAddr, network: &str, bits: &str) -> Option<bool> {
    let (address, network, width) = match (address, network.parse().ok()?) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return None,
    };
    let differing: u128 = address ^ network;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= width)?;
    Some(differing.checked_shr(width - bits).unwrap_or(0) == 0)
}

/// What went wrong, with what to do where a certificate is to blame.
pub fn explained(error: &ureq::Error) -> String {
    let hint = match certificate_error(error) {
        // The second is said of a signer that has the name of a trusted one.
        Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "nobody whom this agent trusts has signed it; if the signer is your own, name its certificate with ca_file"
        }
        Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "it is another server's than the URL says"
        }
        Some(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "renew it, or set this host's clock if that is wrong",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

fn certificate_error(error: &ureq::Error) -> Option<&CertificateError> {
    let tls = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    match tls {
        rustls::Error::InvalidCertificate(why) => Some(why),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, origin: &str) -> Option<Said> {
        Some(Said { text: text.to_owned(), origin: origin.to_owned() })
    }

    /// The host of the proxy to a server, or what is said of it.
    fn proxy_to(url: &str, proxies: &Proxies) -> Result<Option<String>, String> {
        let url = ServerUrl::parse(url, true).unwrap();
        let proxy = proxy_of(&url, proxies).map_err(|error| error.to_string())?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    #[test]
    fn the_setting_goes_before_the_environment_and_neither_to_this_machine() {
        let proxies = Proxies {
            setting: said("http://me:secret@set.example:1", "proxy"),
            https: said("https://https.example", "HTTPS_PROXY"),
            all: said("all.example:3", "ALL_PROXY"),
            none: None,
        };
        let server = "https://watch.example";
        let told = |proxies: &Proxies, url| proxy_to(url, proxies).unwrap();
        assert_eq!(told(&proxies, server).as_deref(), Some("set.example:1"));
        let environment = Proxies { setting: None, ..proxies.clone() };
        assert_eq!(told(&environment, server).as_deref(), Some("https.example:443"));
        assert_eq!(told(&environment, "http://watch.example").as_deref(), Some("all.example:3"));
        let all = Proxies { https: None, ..environment.clone() };
        assert_eq!(told(&all, server).as_deref(), Some("all.example:3"));
        for own in ["https://localhost:1", "http://127.0.0.1:1", "https://[::1]"] {
            assert_eq!(told(&proxies, own), None, "{own}");
        }
        let none = Proxies { setting: said("none", "proxy"), ..environment.clone() };
        assert_eq!(told(&none, server), None);
        let left_out = Proxies { none: Some("else.example, watch.example".to_owned()), ..environment };
        assert_eq!(told(&left_out, server), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_that_does_not_repeat_it() {
        for bad in ["socks5://me:secret@p.example", "ftp://me:secret@p.example", "/secret", "http://"] {
            let proxies = Proxies { all: said(bad, "ALL_PROXY"), ..Proxies::default() };
            let error = proxy_to("https://watch.example", &proxies).unwrap_err();
            assert!(error.starts_with("ALL_PROXY is no proxy's URL") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_list_of_exceptions_has_domains_addresses_and_networks() {
        for (list, host, is_named) in [
            ("", "watch.example", false),
            ("*", "watch.example", true),
            ("WATCH.example", "watch.Example", true),
            ("example", "watch.example", true),
            (".example", "watch.example", true),
            ("*.example", "watch.example", true),
            ("xample", "watch.example", false),
            (".watch.example", "watch.example", true),
            ("a.watch.example", "watch.example", false),
            ("., *.", "watch.example", false),
            ("localhost, 10.1.2.3", "10.1.2.3", true),
            ("10.1.2.0/24", "10.1.2.255", true),
            ("10.1.2.0/24", "10.1.3.0", false),
            ("0.0.0.0/0", "10.1.3.0", true),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/33", "10.1.2.3", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("::/0", "10.1.2.3", false),
            ("10.0.0.0/8", "watch.example", false),
        ] {
            assert_eq!(names(list, host), is_named, "{list} {host}");
        }
    }
}
