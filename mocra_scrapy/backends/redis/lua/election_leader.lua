-- uses: coordination term
-- -> {leader, number, ms left}, or {} when nobody leads
return term.is_running and {term.leader, term.number, coordination.text(term.ends - coordination.now)} or {}
