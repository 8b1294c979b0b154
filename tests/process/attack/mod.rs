//! Attacks on a node, each beside a good vehicle that must not notice: it gets every answer over its
//! one connection, and all it sent is stored exactly once. After each attack what was wrong is
//! counted by its reason, the books balance, the node is ready, and its memory never was more than
//! [`arena::GROWTH_BYTES_MAX`] above what it was before; nor is it where one node meets all of them,
//! one after the other.
//!
//! `ATTACK=full` runs each at its full size (with a release build, or some patience); otherwise
//! most numbers are divided by [`DIVISOR`]. What ran is said on standard error.

pub mod arena;
mod connections;
mod http;
mod identities;
mod lines;
mod strangers;

/// By what the numbers of an attack are divided where it does not run at its full size.
const DIVISOR: usize = 40;

/// Whether the attacks run at their full size.
fn is_full() -> bool {
    std::env::var_os("ATTACK").is_some_and(|size| size == "full")
}

/// A number of an attack, of which `full` is the full size.
fn scaled(full: usize) -> usize {
    if is_full() { full } else { full / DIVISOR }
}

#[test]
fn one_node_withstands_all_of_them_one_after_the_other() {
    let attacks = [
        connections::silent_connections_are_closed_in_time,
        connections::lines_that_come_byte_by_byte_are_lines,
        connections::who_never_reads_its_answers_is_not_read_any_more,
        connections::unfinished_lines_of_many_connections_share_one_room,
        http::heads_and_paths_of_any_size_and_kind_are_refused,
        http::open_connections_do_not_keep_the_vehicles_waiting,
        http::large_answers_are_given_piece_by_piece,
        http::subscribers_that_do_not_read_are_left_behind,
        http::subscribers_that_stop_reading_one_after_the_other_are_left_behind,
        identities::a_million_unknown_identities_take_no_memory,
        identities::ids_of_any_length_and_kind_are_ids_or_refused,
        identities::wrong_passwords_are_refused_however_many,
        identities::impossible_times_and_places_are_refused_one_by_one,
        lines::a_line_without_an_end_is_dropped_as_it_grows,
        lines::noise_is_counted_and_forgotten,
        lines::a_cut_line_is_counted_and_never_taken_for_a_whole_one,
        lines::nul_bytes_are_nothing_special,
        lines::a_million_tiny_lines_are_a_million_lines,
        lines::tiny_lines_that_become_large_records_are_read_no_faster_than_they_are_stored,
        lines::many_attributes_in_short_lines_take_the_room_that_they_need,
        lines::texts_that_grow_as_they_are_read_take_the_room_that_they_need,
        // Its months take the index half a minute: of what floods a node meanwhile, half a million records
        // may wait, and then all vehicles do.
        identities::every_month_that_a_fix_can_have_is_no_burden,
        strangers::other_protocols_get_no_answer_and_are_counted,
        strangers::a_stranger_that_waits_for_an_answer_is_closed_in_time,
    ];
    arena::on_one_node(|| attacks.iter().for_each(|attack: &fn()| attack()));
}
