"""The operator's JSON API under /admin/api. Opened by the admin key alone, never by a caller's."""
