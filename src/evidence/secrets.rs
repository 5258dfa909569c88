//! Where Envoy's configuration holds what nobody else may see: told by the key and what stands around it, and only
//! then by how a value looks.
//!
//! Envoy's own dump hides private keys, passwords, generic secrets and basic-auth users; everything else below is
//! written in clear (measured on 1.40: `request_headers_to_add`, health-check headers, Lua source, `local_jwks`,
//! `Struct` configuration, node metadata, initial metadata of ADS).

/// What kind of secret a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// A value of a header, cookie or query parameter, to add or to match.
    Header,
    /// A password, token or key named as such.
    Credential,
    /// A private key, session ticket key or HMAC secret.
    PrivateKey,
    /// A certificate, CA bundle or revocation list.
    Certificate,
    /// Source or bytecode of a script or module.
    Code,
    /// Configuration that only an extension understands, `Struct` values, metadata.
    Configuration,
    /// Text or bytes given inline.
    Inline,
    /// What a health check sends and expects.
    Payload,
    /// Environment variables.
    Environment,
}

impl Class {
    /// The words used in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header and query values",
            Self::Credential => "credentials",
            Self::PrivateKey => "private keys",
            Self::Certificate => "certificates",
            Self::Code => "code",
            Self::Configuration => "extension configuration and metadata",
            Self::Inline => "inline data",
            Self::Payload => "health check payloads",
            Self::Environment => "environment variables",
        }
    }
}

/// Keys whose value is a secret whatever stands around them (folded).
const CREDENTIALS: [&str; 38] = [
    "password",
    "passwd",
    "passphrase",
    "authpassword",
    "authusername",
    "requirepass",
    "secretkey",
    "secretaccesskey",
    "accesskey",
    "accesskeyid",
    "sessiontoken",
    "clientsecret",
    "clientid",
    "token",
    "accesstoken",
    "refreshtoken",
    "bearertoken",
    "idtoken",
    "authtoken",
    "apikey",
    "apikeys",
    "authorization",
    "cookie",
    "setcookie",
    "credential",
    "credentials",
    "jwt",
    "secretdata",
    "sharedsecret",
    "signature",
    "nonce",
    "pskidentity",
    "psk",
    "stringdata",
    "dockerconfigjson",
    "kubeconfig",
    "licensekey",
    "salt",
];

/// Keys whose value, at any depth below, is key material.
const KEYS: [&str; 12] = [
    "privatekey",
    "privatekeyprovider",
    "sessionticketkeys",
    "genericsecret",
    "hmacsecret",
    "hmac",
    "hmackey",
    "tokensecret",
    "sslkey",
    "pkcs12",
    "keypair",
    "authawsiam",
];

/// Lists and maps of headers: what is under `value` there is a secret until shown otherwise.
const HEADERS: [&str; 22] = [
    "headers",
    "header",
    "requestheaderstoadd",
    "responseheaderstoadd",
    "requesttrailerstoadd",
    "responsetrailerstoadd",
    "headerstoadd",
    "headerstoset",
    "headerstoappend",
    "initialmetadata",
    "customheaders",
    "setheaders",
    "addheaders",
    "appendheaders",
    "requestheaders",
    "responseheaders",
    "headerstoaddonmatch",
    "cookies",
    "queryparameters",
    "queryparameterstoadd",
    "additionalheaders",
    "invalue",
];

/// What a header, query parameter or cookie is compared with or set to.
const HEADER_VALUES: [&str; 17] = [
    "value",
    "rawvalue",
    "exact",
    "prefix",
    "suffix",
    "contains",
    "regex",
    "exactmatch",
    "prefixmatch",
    "suffixmatch",
    "containsmatch",
    "saferegexmatch",
    "regexmatch",
    "valuematch",
    "defaultvalue",
    "substitution",
    "headervalue",
];

/// Where what follows is known to nobody but the extension.
const OPAQUE: [&str; 12] = [
    "metadata",
    "filtermetadata",
    "typedfiltermetadata",
    "configuration",
    "pluginconfig",
    "settings",
    "opaqueconfig",
    "struct",
    "fields",
    "stringvalue",
    "attributes",
    "customtags",
];

/// Keys of metadata that name things instead of holding secrets; they are read for attribution.
const NAMING: [&str; 22] = [
    "host",
    "name",
    "namespace",
    "config",
    "kind",
    "workloadname",
    "confignamespace",
    "podname",
    "istioversion",
    "servicename",
    "service",
    "destination",
    "canonicalname",
    "group",
    "resources",
    "services",
    "istio",
    "workload",
    "cluster",
    "clusterid",
    "meshid",
    "sectionname",
];

/// Keys under which names of files and of other resources stand, even inside of secrets.
const REFERENCES: [&str; 10] = [
    "@type",
    "typeurl",
    "filename",
    "path",
    "environmentvariable",
    "sdsconfig",
    "resourceapiversion",
    "apitype",
    "provider",
    "providername",
];

/// The class of a string value, by the folded keys that lead to it (innermost last); `None` for what is a name, a word
/// of the API or a number.
pub(crate) fn class<S: AsRef<str>>(path: &[S]) -> Option<Class> {
    let key = path.last()?.as_ref();
    let above = |list: &[&str]| path[..path.len() - 1].iter().any(|k| list.contains(&k.as_ref()));
    if REFERENCES.contains(&key) {
        return None;
    }
    if matches!(key, "inlinestring" | "inlinebytes") {
        return Some(if above(&KEYS) || above(&["password", "jwks", "localjwks", "users"]) {
            Class::PrivateKey
        } else if above(&["trustedca", "certificatechain", "crl", "ocspstaple", "cacertificates"]) {
            Class::Certificate
        } else if above(&["inlinecode", "sourcecode", "sourcecodes", "defaultsourcecode", "code"]) {
            Class::Code
        } else {
            Class::Inline
        });
    }
    if matches!(key, "inlinecode" | "sourcecode" | "luasource") {
        return Some(Class::Code);
    }
    // the name of a secret, and where it comes from, are no secrets
    let reference = key == "name" || above(&["sdsconfig"]);
    if !reference && (CREDENTIALS.contains(&key) || above(&CREDENTIALS)) {
        return Some(Class::Credential);
    }
    if !reference && (KEYS.contains(&key) || above(&KEYS)) {
        return Some(Class::PrivateKey);
    }
    if matches!(key, "localjwks" | "jwks") {
        return Some(Class::PrivateKey);
    }
    if above(&["keyvalues", "environmentvariables", "env", "hostenvkeys", "environ"]) && !reference {
        return Some(Class::Environment);
    }
    if above(&HEADERS) && (HEADER_VALUES.contains(&key) || path.len() > 1 && is_header_map(path)) {
        return Some(Class::Header);
    }
    if matches!(key, "text" | "binary") && above(&["send", "receive"]) {
        return Some(Class::Payload);
    }
    if (OPAQUE.contains(&key) || above(&OPAQUE)) && !NAMING.contains(&key) {
        return Some(Class::Configuration);
    }
    None
}

/// Whether a report must not show a value: a secret by place or look, or one under a key of the user's, where it may be
/// anything.
pub(crate) fn hides(path: &[&str], text: &str) -> bool {
    let theirs = |key: &&str| !key.starts_with('@') && super::api::field(key).is_none();
    class(path).is_some() || suspect(text) || path.last().is_some_and(theirs)
}

/// `"headers": {"x-key": "value"}`: a map from header to value, as exporters have it.
fn is_header_map<S: AsRef<str>>(path: &[S]) -> bool {
    let (key, parent) = (path[path.len() - 1].as_ref(), path[path.len() - 2].as_ref());
    HEADERS.contains(&parent) && super::api::field(key).is_none()
}

/// The value itself gives it away: a bearer token, a JWT, a PEM block, credentials or parameters in a URL, a well-known
/// prefix of tokens. The second net below [`class`], for values that are shown or kept.
pub(crate) fn suspect(text: &str) -> bool {
    const MARKS: [&str; 14] = [
        "Bearer ",
        "bearer ",
        "Basic ",
        "basic ",
        "-----BEGIN",
        "eyJ",
        "AKIA",
        "ASIA",
        "ghp_",
        "gho_",
        "xoxb-",
        "sk_live_",
        "glpat-",
        "AIza",
    ];
    if MARKS.iter().any(|m| text.contains(m)) {
        return true;
    }
    if let Some(at) = text.find("://") {
        let rest = &text[at + 3..];
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        return authority.contains('@') || rest.contains('?');
    }
    let lower = text.to_ascii_lowercase();
    ["password=", "passwd=", "token=", "secret=", "api_key=", "apikey=", "access_key=", "sig="]
        .iter()
        .any(|m| lower.contains(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_key_and_context() {
        for (path, expected) in [
            (&["routes", "requestheaderstoadd", "header", "value"][..], Some(Class::Header)),
            (&["routes", "requestheaderstoadd", "header", "key"], None),
            (&["match", "headers", "stringmatch", "exact"], Some(Class::Header)),
            (&["match", "prefix"], None),
            (&["privatekey", "inlinebytes"], Some(Class::PrivateKey)),
            (&["privatekey", "filename"], None),
            (&["trustedca", "inlinestring"], Some(Class::Certificate)),
            (&["defaultsourcecode", "inlinestring"], Some(Class::Code)),
            (&["bootstrap", "node", "metadata", "TOKEN"], Some(Class::Configuration)),
            (&["metadata", "filtermetadata", "istio", "services", "host"], None),
            (&["tokensecret", "name"], None),
            (&["credentials", "clientid"], Some(Class::Credential)),
            (&["healthchecks", "send", "text"], Some(Class::Payload)),
            (&["cluster", "name"], None),
        ] {
            assert_eq!(class(path), expected, "{path:?}");
        }
    }

    #[test]
    fn by_look() {
        for text in ["Bearer abc", "https://u:p@host/", "https://host/?k=v", "x password=1", "-----BEGIN KEY"] {
            assert!(suspect(text), "{text}");
        }
        for text in ["outbound|80||web.shop.svc.cluster.local", "https://host/path", "/metrics"] {
            assert!(!suspect(text), "{text}");
        }
    }
}
