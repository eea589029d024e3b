Feature: Customer
  A customer is created, and collects and redeems loyalty points.

  Scenario: A customer is created
    When a customer "Ada" with the email "ada@example.com" is created
    Then it is accepted
    And event 0 is CustomerCreated
      | name | email           |
      | Ada  | ada@example.com |
    And the next event will be number 1

  Scenario: Points are collected and redeemed
    Given a customer "Ada"
    When 100 points are added for "welcome"
    And 30 points are redeemed for "coffee"
    Then it is accepted
    And event 1 is LoyaltyPointsAdded
      | points | new_balance | reason  |
      | 100    | 100         | welcome |
    And event 2 is LoyaltyPointsRedeemed
      | points | new_balance | redemption_type |
      | 30     | 70          | coffee          |
    And the next event will be number 3
    And the history is CustomerCreated, LoyaltyPointsAdded, LoyaltyPointsRedeemed

  Scenario Outline: A customer needs a name and an email
    When a customer "<name>" with the email "<email>" is created
    Then it is refused as INVALID_ARGUMENT: <message>
    And the history is empty

    Examples:
      | name | email | message                    |
      |      | a@x   | Customer name is required  |
      | Ada  |       | Customer email is required |

  Scenario: A customer is created once
    Given a customer "Ada"
    When a customer "Eve" with the email "eve@example.com" is created
    Then it is refused as FAILED_PRECONDITION: Customer already exists
    And the history is CustomerCreated

  Scenario: Nobody has no points
    When 10 points are added for "welcome"
    Then it is refused as FAILED_PRECONDITION: Customer does not exist
    When 10 points are redeemed for "coffee"
    Then it is refused as FAILED_PRECONDITION: Customer does not exist
    And the history is empty

  Scenario Outline: Points are counted from one
    Given a customer "Ada"
    When <points> points are added for "welcome"
    Then it is refused as INVALID_ARGUMENT: Points must be positive
    When <points> points are redeemed for "coffee"
    Then it is refused as INVALID_ARGUMENT: Points must be positive

    Examples:
      | points |
      | 0      |
      | -5     |

  Scenario: Nobody redeems more than there is
    Given a customer "Ada"
    When 100 points are added for "welcome"
    And 101 points are redeemed for "car"
    Then it is refused as FAILED_PRECONDITION: Insufficient points: have 100, need 101
    When 100 points are redeemed for "bicycle"
    Then it is accepted
    And the next event will be number 3

  Scenario: A command that was decided on an old history is refused
    Given a customer "Ada"
    When 10 points are added for "welcome", as event 0
    Then it is refused as FAILED_PRECONDITION: Sequence mismatch: command expects 0, aggregate at 1
    And the refusal carries the history CustomerCreated

  Scenario: The same key is done once
    Given a customer "Ada"
    When 100 points are added for "welcome", with the key "k-1"
    And the same is sent again with the key "k-1"
    Then it is accepted
    And the answer is the same
    And the service was not asked again
    And the history is CustomerCreated, LoyaltyPointsAdded

  Scenario: After many events a snapshot stands for them
    Given a customer "Ada"
    When 10 points are added for "visit", 24 times
    And 241 points are redeemed for "car"
    Then it is refused as FAILED_PRECONDITION: Insufficient points: have 240, need 241
    And it was decided on a snapshot at event 24
      | name | email           | loyalty_points | lifetime_points |
      | Ada  | ada@example.com | 240            | 240             |
    When 200 points are redeemed for "bicycle"
    And 41 points are redeemed for "coffee"
    Then it is refused as FAILED_PRECONDITION: Insufficient points: have 40, need 41
    And it was decided on a snapshot at event 24
      | name | email           | loyalty_points | lifetime_points |
      | Ada  | ada@example.com | 240            | 240             |
    And the history has 26 events
