skip 6;
