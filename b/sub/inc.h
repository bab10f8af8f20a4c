skip 8;
