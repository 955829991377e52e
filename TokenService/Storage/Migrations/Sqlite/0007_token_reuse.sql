-- For how many seconds the same request of the client gets the same token again; NULL, as the build before writes it: never.
ALTER TABLE clients ADD COLUMN token_reuse INTEGER;
