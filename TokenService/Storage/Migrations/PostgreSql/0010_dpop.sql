-- dpop_bound_access_tokens: 1 where its tokens are bound to a key that it proves to have.
ALTER TABLE clients ADD COLUMN dpop_bound BIGINT NOT NULL DEFAULT 0;
