package com.acme;

public interface OrderService {
    /** Returns the address of the pod that answered. */
    String create(String order);

    String get(String order);
}
