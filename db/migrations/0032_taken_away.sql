-- What was taken away from a CBeteiligte before that was deleted keeps its link: it stays away when the CBeteiligte is
-- restored. For any other CBeteiligte the link is free. NULL: the part was not taken away before.
ALTER TABLE sync_state ADD COLUMN taken_from text; -- the id of that CBeteiligte
