skip 7;
