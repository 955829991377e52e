-- When the key signs from; until then it is only published. NULL, as the build before writes it: from created_at.
ALTER TABLE signing_keys ADD COLUMN signs_from INTEGER;
