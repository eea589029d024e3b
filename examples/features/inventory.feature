Feature: Inventory
  A product comes into stock, is reserved for orders and released again.

  Scenario: A product is created
    When a product "Lamp" with the SKU "L-1" is created
    Then it is accepted
    And event 0 is ProductCreated
      | sku | name |
      | L-1 | Lamp |
    And the next event will be number 1

  Scenario: Stock comes and goes
    Given a product "Lamp"
    When the stock changes by 10 for "delivery"
    And the stock changes by -3 for "broken"
    Then it is accepted
    And event 1 is StockAdjusted
      | delta | new_on_hand | reason   |
      | 10    | 10          | delivery |
    And event 2 is StockAdjusted
      | delta | new_on_hand | reason |
      | -3    | 7           | broken |
    And the next event will be number 3

  Scenario: Stock is reserved for an order, and released
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A"
    And the order "A" is released
    And 10 are reserved for the order "A"
    Then it is accepted
    And event 2 is StockReserved
      | order_id | quantity | new_available |
      | A        | 4        | 6             |
    And event 3 is ReservationReleased
      | order_id | quantity | new_available |
      | A        | 4        | 10            |
    And event 4 is StockReserved
      | order_id | quantity | new_available |
      | A        | 10       | 0             |
    And the history is ProductCreated, StockAdjusted, StockReserved, ReservationReleased, StockReserved

  Scenario Outline: A product needs a SKU and a name
    When a product "<name>" with the SKU "<sku>" is created
    Then it is refused as INVALID_ARGUMENT: <message>
    And the history is empty

    Examples:
      | name | sku | message                  |
      | Lamp |     | SKU is required          |
      |      | L-1 | Product name is required |

  Scenario: A product is created once
    Given a product "Lamp"
    When a product "Chair" with the SKU "C-1" is created
    Then it is refused as FAILED_PRECONDITION: Product already exists
    And the history is ProductCreated

  Scenario: What does not exist has no stock
    When the stock changes by 10 for "delivery"
    Then it is refused as FAILED_PRECONDITION: Product does not exist
    When 1 are reserved for the order "A"
    Then it is refused as FAILED_PRECONDITION: Product does not exist
    When the order "A" is released
    Then it is refused as FAILED_PRECONDITION: Product does not exist
    And the history is empty

  Scenario Outline: Commands that are wrong in themselves
    Given a product "Lamp" with 10 in stock
    When <command>
    Then it is refused as INVALID_ARGUMENT: <message>
    And the history has 2 events

    Examples:
      | command                             | message                   |
      | the stock changes by 0 for "r"      | Delta must not be zero    |
      | the stock changes by 1 for ""       | Reason is required        |
      | 1 are reserved for the order ""     | Order id is required      |
      | 0 are reserved for the order "A"    | Quantity must be positive |
      | -1 are reserved for the order "A"   | Quantity must be positive |
      | the order "" is released            | Order id is required      |

  Scenario: Stock is never negative
    Given a product "Lamp" with 10 in stock
    When the stock changes by -11 for "sold"
    Then it is refused as FAILED_PRECONDITION: Insufficient stock: have 10, need 11
    When the stock changes by -10 for "sold"
    Then it is accepted
    And the next event will be number 3

  Scenario: What is reserved is not given away
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A"
    And 7 are reserved for the order "B"
    Then it is refused as FAILED_PRECONDITION: Insufficient stock: have 6, need 7
    When the stock changes by -7 for "sold"
    Then it is refused as FAILED_PRECONDITION: Insufficient stock: have 6, need 7
    When 6 are reserved for the order "B"
    Then it is accepted

  Scenario: An order is reserved once
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A"
    And 1 are reserved for the order "A"
    Then it is refused as FAILED_PRECONDITION: Order A is already reserved
    And the history has 3 events

  Scenario: Only what is reserved is released
    Given a product "Lamp" with 10 in stock
    When the order "A" is released
    Then it is refused as FAILED_PRECONDITION: Order A has no reservation
    When 4 are reserved for the order "A"
    And the order "A" is released
    And the order "A" is released
    Then it is refused as FAILED_PRECONDITION: Order A has no reservation
    And the history has 4 events

  Scenario: A command that was decided on an old history is refused
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A", as event 1
    Then it is refused as FAILED_PRECONDITION: Sequence mismatch: command expects 1, aggregate at 2
    And the refusal carries the history ProductCreated, StockAdjusted

  Scenario: The same key is done once
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A", with the key "k-1"
    And the same is sent again with the key "k-1"
    Then it is accepted
    And the answer is the same
    And the service was not asked again
    And the history is ProductCreated, StockAdjusted, StockReserved

  Scenario: After many events a snapshot stands for them
    Given a product "Lamp" with 10 in stock
    When 4 are reserved for the order "A"
    And the stock changes by 2 for "delivery", 22 times
    And 51 are reserved for the order "B"
    Then it is refused as FAILED_PRECONDITION: Insufficient stock: have 50, need 51
    And it was decided on a snapshot at event 24
      | sku | name | on_hand | reserved | reservations |
      | L-1 | Lamp | 54      | 4        | A: 4         |
    When 1 are reserved for the order "A"
    Then it is refused as FAILED_PRECONDITION: Order A is already reserved
    When the order "A" is released
    And 55 are reserved for the order "B"
    Then it is refused as FAILED_PRECONDITION: Insufficient stock: have 54, need 55
    And it was decided on a snapshot at event 24
      | sku | name | on_hand | reserved | reservations |
      | L-1 | Lamp | 54      | 4        | A: 4         |
    And event 25 is ReservationReleased
      | order_id | quantity | new_available |
      | A        | 4        | 54            |
    And the history has 26 events
