//! The program as a person meets it: arguments, messages, exit codes, signals, pipes.

mod act;
mod check;
mod documents;
mod example;
mod explore;
mod failure;
mod judge;
mod liberties;
mod load;
mod nginx;
mod prefix;
mod protocol;
mod provisioners;
mod proxy;
mod reach;
mod readme;
mod recipes;
mod replay;
mod reports;
mod serve;
mod support;
mod surface;
mod targets;
mod terminal;
mod values;
mod watch;
