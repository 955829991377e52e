-- tls_client_auth: the name that the certificate of a tls_client_auth client must have: the member of the declarative file, a space, and its value.
ALTER TABLE clients ADD COLUMN tls_client_auth TEXT;

-- tls_client_certificate_bound_access_tokens: 1 where its tokens are bound to its certificate.
ALTER TABLE clients ADD COLUMN certificate_bound INTEGER NOT NULL DEFAULT 0;
