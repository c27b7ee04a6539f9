//! What is wanted here was written by glibc.

use super::*;

#[track_caller]
fn check(seconds: i64, format: &str, wanted: &str) {
    assert_eq!(strftime(format, Timestamp::from_second(seconds).unwrap()), wanted, "{format}");
}

#[test]
fn codes_and_their_flags_are_written_as_glibc_does() {
    check(0, "%A %d %B %Y", "Thursday 01 January 1970");
    check(0, "%c", "Thu Jan  1 00:00:00 1970");
    check(0, "%^a %^B %#p %#Z %P", "THU JANUARY am utc am");
    check(951_782_400, "%-d %b %Y, %-I:%M %p", "29 Feb 2000, 12:00 AM");
    check(951_782_400, "%D %x %F", "02/29/00 02/29/00 2000-02-29");
    check(951_782_400, "%5d|%_5d|%05e|%^b", "00029|   29|00029|FEB");
    check(1_104_537_599, "%I:%M %p", "11:59 PM");
    check(1_104_537_599, "%r %R %T %X", "11:59:59 PM 23:59 23:59:59 23:59:59");
    check(1_104_537_599, "%s %z %Z %h%n%t%%", "1104537599 +0000 UTC Dec\n\t%");
    check(1_230_768_000, "%j", "001");
    check(1_230_768_000, "%U %V %W %u %w %g %G %C", "00 01 00 4 4 09 2009 20");
    check(
        1_230_768_000,
        "%^c|%_Y|%12Y|%_12y",
        "THU JAN  1 00:00:00 2009|2009|000000002009|           9",
    );
    check(1_735_689_599, "%A %d %B %Y", "Tuesday 31 December 2024");
    check(1_735_689_599, "%_d|%-j|%_H|%0e|%k|%l|%-m/%-d/%y", "31|366|23|31|23|11|12/31/24");
    check(1_735_689_599, "%^a %^B %#p %#Z %P", "TUE DECEMBER pm utc pm");
    check(1_721_984_707, "%A %d %B %Y", "Friday 26 July 2024");
    check(1_721_984_707, "%-d %b %Y, %-I:%M %p", "26 Jul 2024, 9:05 AM");
    check(1_721_984_707, "%I:%M %p", "09:05 AM");
    check(1_721_984_707, "%j", "208");
    check(1_721_984_707, "%_d|%-j|%_H|%0e|%k|%l|%-m/%-d/%y", "26|208| 9|26| 9| 9|7/26/24");
    check(1_721_984_707, "%c", "Fri Jul 26 09:05:07 2024");
    check(1_721_984_707, "%D %x %F", "07/26/24 07/26/24 2024-07-26");
    check(1_721_984_707, "%r %R %T %X", "09:05:07 AM 09:05 09:05:07 09:05:07");
    check(1_721_984_707, "%U %V %W %u %w %g %G %C", "29 30 30 5 5 24 2024 20");
    check(1_721_984_707, "%^a %^B %#p %#Z %P", "FRI JULY am utc am");
    check(1_721_984_707, "%5d|%_5d|%05e|%^b", "00026|   26|00026|JUL");
    check(1_721_984_707, "%s %z %Z %h%n%t%%", "1721984707 +0000 UTC Jul\n\t%");
    check(
        1_721_984_707,
        "%^c|%_Y|%12Y|%_12y",
        "FRI JUL 26 09:05:07 2024|2024|000000002024|          24",
    );
    check(1_609_506_000, "%I:%M %p", "01:00 PM");
    check(1_609_506_000, "%D %x %F", "01/01/21 01/01/21 2021-01-01");
    check(1_609_506_000, "%s %z %Z %h%n%t%%", "1609506000 +0000 UTC Jan\n\t%");
    check(4_107_542_400, "%j", "060");
    check(4_107_542_400, "%r %R %T %X", "12:00:00 AM 00:00 00:00:00 00:00:00");
    check(
        4_107_542_400,
        "%^c|%_Y|%12Y|%_12y",
        "MON MAR  1 00:00:00 2100|2100|000000002100|           0",
    );
}

#[test]
fn other_forms_are_the_usual_ones() {
    check(1_104_537_599, "%Ey %Od %EY %-Od", "04 31 2004 31");
    check(1_721_984_707, "%Ey %Od %EY", "24 26 2024");
}

#[test]
fn what_is_no_code_is_left_as_it_stands() {
    check(0, "%K %-K %5 %", "%K %-K %5 %");
    check(0, "%d%", "01%");
    check(0, "%E", "%E");
    check(0, "%%Ed %", "%Ed %");
    check(0, "%99999999999d", "%99999999999d");
}
